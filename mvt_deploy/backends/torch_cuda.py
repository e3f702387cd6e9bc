"""PyTorch on an NVIDIA GPU: half precision, channels-last, one CUDA graph launch a frame."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..bundle import TrackerSpec
from ..errors import BackendError
from ..network import MVT, TemplateFeatures, load_checkpoint
from ..network.inference import Prediction, decode, hann_window, prepare
from .base import SearchResult
from .checks import check_crops, check_process, check_result

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_WARM_UP = 3  # runs before recording, so that cuDNN has chosen its kernels


class TorchCudaBackend:
    """Runs the network in PyTorch on the first visible GPU. One thread at a time may use it.

    Args:
        checkpoint: a checkpoint file (a bundle carries one).
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``; the decoding is in fp32 always.
        device: ``"cuda"``; ``"cpu"`` runs the same code without a graph, for comparison.
        graph: False leaves CUDA graphs out.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not fit.
        BackendError: no GPU, a PyTorch without CUDA, or an unknown precision.
    """

    name = "torch"

    def __init__(self, checkpoint: Path, precision: str = "fp16", *, device: str = "cuda", graph: bool = True) -> None:
        if precision not in DTYPES:
            raise BackendError(f"PyTorch runs {', '.join(DTYPES)} on a GPU, not {precision}: choose one of these.")
        if device == "cuda":
            require_cuda()
        self.spec = TrackerSpec()
        self.label = f"torch {device} {precision}"
        self._home = os.getpid()
        self._device, self._dtype, self._graphed = torch.device(device), DTYPES[precision], graph and device == "cuda"
        model = load_checkpoint(checkpoint).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._model = _in(model, self._dtype)
        self._window = hann_window().to(self._device)
        self._lanes: dict[int, _Lane] = {}

    @torch.inference_mode()
    def template(self, crops: npt.NDArray[np.uint8]) -> TemplateFeatures:
        check_process(self._home)
        check_crops(crops, self.spec.template_size)
        features = self._model.encode_template(self._image(torch.from_numpy(crops).to(self._device)))
        if self._device.type == "cuda":
            torch.cuda.synchronize()  # searches read them on streams of their own
        return features

    @torch.inference_mode()
    def search(self, crops: npt.NDArray[np.uint8], features: TemplateFeatures, score_map: bool = False) -> SearchResult:
        check_process(self._home)
        check_crops(crops, self.spec.search_size)
        if len(features.features) != len(crops):
            raise BackendError(
                f"{len(features.features)} targets' features, {len(crops)} crops: give one crop a target."
            )
        lane = self._lanes.get(len(crops))
        if lane is None:
            lane = self._lanes[len(crops)] = _Lane(self._locate, crops, features, self._device, self._graphed)
        return check_result(lane.search(crops, features, score_map), len(crops))

    def close(self) -> None:
        """Drop the graphs and their memory."""
        self._lanes.clear()

    def _image(self, crops: Tensor) -> Tensor:
        return prepare(crops).to(self._dtype).contiguous(memory_format=torch.channels_last)

    def _locate(self, crops: Tensor, features: TemplateFeatures) -> Prediction:
        return decode(self._model.track(self._image(crops), features), self._window)


def _in(model: MVT, dtype: torch.dtype) -> MVT:
    """The network in another precision; batch norms keep theirs, as rounding their statistics costs more than all else
    together."""
    for module in model.modules():
        if not isinstance(module, nn.BatchNorm2d):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return model


class _Lane:
    """Fixed memory and the recorded graph for one number of targets."""

    def __init__(
        self,
        locate: Callable[[Tensor, TemplateFeatures], Prediction],
        crops: npt.NDArray[np.uint8],
        features: TemplateFeatures,
        device: torch.device,
        graphed: bool,
    ) -> None:
        on_gpu = device.type == "cuda"
        self._locate = locate
        self._host = torch.empty(crops.shape, dtype=torch.uint8, pin_memory=on_gpu)
        self._crops = torch.empty(crops.shape, dtype=torch.uint8, device=device)
        self._features = TemplateFeatures(*(torch.empty_like(f) for f in features))
        self._resident: TemplateFeatures | None = None
        # box (4) and score (1) side by side, so that one small copy brings both
        self._found = torch.empty((len(crops), 5), pin_memory=on_gpu)
        self._map = torch.empty((len(crops), 16, 16), pin_memory=on_gpu)
        self._stream = torch.cuda.Stream(device) if on_gpu else None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._located: Prediction | None = None
        if graphed:
            self._record(crops, features)

    def search(self, crops: npt.NDArray[np.uint8], features: TemplateFeatures, score_map: bool) -> SearchResult:
        with torch.cuda.stream(self._stream):
            self._keep(crops, features)
            if self._graph is not None:
                self._graph.replay()
            else:
                self._work()
            if score_map and self._located is not None:
                self._map.copy_(self._located.score_map, non_blocking=True)
        if self._stream is not None:
            self._stream.synchronize()
        found = self._found.numpy()
        return SearchResult(found[:, :4].copy(), found[:, 4].copy(), self._map.numpy().copy() if score_map else None)

    def _keep(self, crops: npt.NDArray[np.uint8], features: TemplateFeatures) -> None:
        """Put the inputs where the graph reads them; the features only when they are others than last time."""
        self._host.numpy()[:] = crops
        if features is not self._resident:
            for mine, given in zip(self._features, features, strict=True):
                mine.copy_(given)
            self._resident = features

    def _work(self) -> None:
        self._crops.copy_(self._host, non_blocking=True)
        self._located = self._locate(self._crops, self._features)
        both = torch.cat([self._located.box, self._located.score[:, None]], 1)
        self._found.copy_(both, non_blocking=True)

    def _record(self, crops: npt.NDArray[np.uint8], features: TemplateFeatures) -> None:
        assert self._stream is not None
        with torch.cuda.stream(self._stream):
            self._keep(crops, features)
            for _ in range(_WARM_UP):
                self._work()
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._work()


def require_cuda() -> None:
    """Raise :class:`BackendError` unless PyTorch can use a GPU."""
    if torch.version.cuda is None:
        raise BackendError(
            f"this PyTorch ({torch.__version__}) is built without CUDA: on a machine with an NVIDIA GPU, install "
            "the one from pytorch.org for it; here, leave --device out."
        )
    if not torch.cuda.is_available():
        raise BackendError(
            "PyTorch finds no NVIDIA GPU with a working driver (nvidia-smi lists them): run this on a machine that has "
            "one, or leave --device out."
        )
