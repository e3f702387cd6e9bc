"""PyTorch: the reference every other backend is compared with (needs the ``export`` extra)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..bundle import TrackerSpec
from ..network import TemplateFeatures, load_checkpoint
from ..network.inference import decode, hann_window, prepare
from .base import SearchResult
from .checks import check_crops, check_process, check_result


class TorchBackend:
    """Runs the network itself, in float32, unchanged.

    Args:
        checkpoint: a checkpoint file (a bundle carries one).
        fusion: False keeps attention within each image (the paper's ablation without fusion).
        threads: CPU threads, for the whole process; None leaves PyTorch's choice.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not fit.
    """

    name = "torch"

    def __init__(self, checkpoint: Path, *, fusion: bool = True, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.spec = TrackerSpec()
        self.label = "torch cpu fp32"
        self._home = os.getpid()
        self._model = load_checkpoint(checkpoint, fusion)
        self._window = hann_window()

    @torch.inference_mode()
    def template(self, crops: npt.NDArray[np.uint8]) -> TemplateFeatures:
        check_process(self._home)
        check_crops(crops, self.spec.template_size)
        return self._model.encode_template(prepare(torch.from_numpy(crops)))

    @torch.inference_mode()
    def search(self, crops: npt.NDArray[np.uint8], features: TemplateFeatures, score_map: bool = False) -> SearchResult:
        check_process(self._home)
        check_crops(crops, self.spec.search_size)
        found = decode(self._model.track(prepare(torch.from_numpy(crops)), features), self._window)
        return check_result(
            SearchResult(found.box.numpy(), found.score.numpy(), found.score_map.numpy() if score_map else None),
            len(crops),
        )

    def close(self) -> None:
        """Nothing to free: the parameters go with the object."""
