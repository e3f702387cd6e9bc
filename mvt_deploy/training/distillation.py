"""Feature distillation: the backbone's feature maps are trained to predict those of a trained tracker's backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backends.onnx_session import OnnxSession
from ..errors import TrainingError
from ..network import MVT
from .images import Image

Features = npt.NDArray[np.float16]
_CHANNELS = 128  # of the network's own feature maps


class TeacherBackbone:
    """A backbone in ONNX, run by ONNX Runtime on one thread of the worker process that makes the pairs."""

    def __init__(self, path: str) -> None:
        import onnx

        try:
            model = onnx.load(path)
            _free_sides(model.graph)
            self._session = OnnxSession(model.SerializeToString(), threads=1)
        except Exception as error:  # ONNX and ONNX Runtime raise many kinds
            raise TrainingError(f"the teacher's backbone {path} cannot be loaded ({error}).") from error

    def __call__(self, crop: Image) -> Features:
        """The feature map ``[C, H/16, W/16]`` of a BGR crop uint8 ``[H, W, 3]``."""
        image = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32)
        found = self._session.run({self._session.inputs[0]: image})[self._session.outputs[0]][0]
        return np.clip(found, -6e4, 6e4).astype(np.float16)


def _free_sides(graph: Any) -> None:
    """Let a graph that was exported for one image size take any."""
    for value in (graph.input[0], graph.output[0]):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    del graph.value_info[:]


class Distillation(nn.Module):
    """Compares the network's feature maps, through a 1x1 convolution, with the teacher's.

    Args:
        model: The network; the inputs of its neck are the maps that are compared.
        channels: Channels of the teacher's maps.
    """

    def __init__(self, model: MVT, channels: int) -> None:
        super().__init__()
        self.search = nn.Conv2d(_CHANNELS, channels, 1)
        self.template = nn.Conv2d(_CHANNELS, channels, 1)
        self._seen: tuple[Tensor, Tensor] | None = None
        model.neck.register_forward_pre_hook(self._keep)

    def _keep(self, _neck: nn.Module, maps: tuple[Tensor, Tensor]) -> None:
        self._seen = maps

    def loss(self, features: Sequence[Tensor]) -> Tensor:
        """Mean of 1 - cosine similarity over all cells of both maps of the last forward pass.

        Args:
            features: The teacher's maps of template and search ``[B, C, h, w]``. Their channels are standardised over
                the batch, and they are averaged down to the size of the network's maps.
        """
        assert self._seen is not None
        search, template = self._seen
        self._seen = None
        losses = []
        for adapt, own, teacher in ((self.template, template, features[0]), (self.search, search, features[1])):
            target = F.adaptive_avg_pool2d(teacher.float(), (own.shape[2], own.shape[3]))
            deviation, mean = torch.std_mean(target, dim=(0, 2, 3), keepdim=True)
            target = (target - mean) / deviation.clamp(min=1e-3)
            losses.append(1 - F.cosine_similarity(adapt(own.float()), target, dim=1).mean())
        return torch.stack(losses).mean()
