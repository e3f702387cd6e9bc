"""PyTorch: the reference every other backend is compared with (needs the ``export`` extra)."""

from __future__ import annotations

from pathlib import Path

import torch

from ..bundle import SIDES, Bundle, SearchSize, TrackerSpec
from ..errors import BackendError
from ..network import TemplateFeatures, load_checkpoint
from ..network.inference import decode, hann_window, prepare, size_scale
from ..network.model import STRIDE
from ..process import set_torch_threads
from .base import Backend, Crops, OpenOptions, SearchResult


class TorchBackend(Backend):
    """Runs the network itself, in float32, unchanged. It takes search crops of any side, without a graph for each.

    Args:
        checkpoint: A checkpoint file; a bundle carries one.
        fusion: False keeps attention within each image (the paper's ablation without fusion).
        threads: CPU threads, for the whole process; None leaves PyTorch's choice.
        search_size: Side of the search crops in pixels, ``"auto"`` for :data:`~mvt_deploy.bundle.SIDES`, or None for
            256.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit.
        BundleError: The network cannot take this side.
    """

    name = "torch"

    def __init__(
        self,
        checkpoint: Path,
        *,
        fusion: bool = True,
        threads: int | None = None,
        search_size: SearchSize = None,
    ) -> None:
        if threads is not None:
            set_torch_threads(threads)
        spec, sides = spec_and_sides(search_size)
        self._model = load_checkpoint(checkpoint, fusion)
        self._windows = {side: hann_window(side // STRIDE) for side in sides}
        super().__init__(spec, "cpu", "fp32", (checkpoint,), sides)

    @classmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> TorchBackend:
        if options.precision not in (None, "fp32"):
            raise BackendError("the backend torch is the fp32 reference: leave the precision out.")
        return cls(bundle.checkpoint(), threads=options.threads, search_size=options.search_size)

    @torch.inference_mode()
    def _template(self, crops: Crops) -> TemplateFeatures:
        return self._model.encode_template(prepare(torch.from_numpy(crops)))

    @torch.inference_mode()
    def _search(self, crops: Crops, features: TemplateFeatures, score_map: bool) -> SearchResult:
        maps = self._model.track(prepare(torch.from_numpy(crops)), features)
        window = self._windows[crops.shape[1]]
        found = decode(maps, window, size_scale(len(window)))
        return SearchResult(found.box.numpy(), found.score.numpy(), found.score_map.numpy() if score_map else None)


def spec_and_sides(search_size: SearchSize) -> tuple[TrackerSpec, tuple[int, ...]]:
    """The specification and the sides of the search crops that the network runs at.

    Raises:
        BundleError: The network cannot take this side.
    """
    if search_size == "auto":
        return TrackerSpec(), SIDES
    spec = TrackerSpec() if search_size is None else TrackerSpec().at(search_size)
    return spec, (spec.search_size,)
