"""PyTorch on an NVIDIA GPU: half precision, channels-last, one CUDA graph launch per frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..bundle import Bundle, SearchSize
from ..errors import BackendError
from ..network import MVT, TemplateFeatures, load_checkpoint
from ..network.inference import Prediction, decode, hann_window, prepare, size_scale
from ..network.model import STRIDE
from .base import Backend, Crops, OpenOptions, SearchResult
from .torch import spec_and_sides

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_WARM_UP = 3  # runs before recording, so that cuDNN has chosen its kernels


class TorchCudaBackend(Backend):
    """Runs the network in PyTorch on the first visible GPU, at any side. One thread at a time may use it.

    Args:
        checkpoint: A checkpoint file; a bundle carries one.
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``; the decoding is always in fp32.
        device: ``"cuda"``; ``"cpu"`` runs the same code without a graph, for comparison.
        graph: Whether to record CUDA graphs.
        compiled: Whether ``torch.compile`` makes the network's kernels. CUDA graphs are recorded around them.
        search_size: Side of the search crops in pixels, ``"auto"`` for :data:`~mvt_deploy.bundle.SIDES`, or None for
            256.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit.
        BackendError: There is no GPU, PyTorch is built without CUDA, or the precision is unknown.
        BundleError: The network cannot take this side.
    """

    name = "torch"

    def __init__(
        self,
        checkpoint: Path,
        precision: str = "fp16",
        *,
        device: str = "cuda",
        graph: bool = True,
        compiled: bool = False,
        search_size: SearchSize = None,
    ) -> None:
        if precision not in DTYPES:
            raise BackendError(f"PyTorch runs {', '.join(DTYPES)} on a GPU, not {precision}: choose one of these.")
        if device == "cuda":
            require_cuda()
        spec, sides = spec_and_sides(search_size)
        self._device, self._dtype, self._graphed = torch.device(device), DTYPES[precision], graph and device == "cuda"
        model = load_checkpoint(checkpoint).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._model = _in(model, self._dtype)
        self._track = torch.compile(self._model.track) if compiled else self._model.track
        self._windows = {side: hann_window(side // STRIDE).to(self._device) for side in sides}
        self._lanes: dict[tuple[int, int], _Lane] = {}  # by side and number of targets
        super().__init__(spec, device, precision, (checkpoint,), sides)

    @classmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> TorchCudaBackend:
        return cls(bundle.checkpoint(), options.precision or "fp32", search_size=options.search_size)

    @torch.inference_mode()
    def _template(self, crops: Crops) -> TemplateFeatures:
        features = self._model.encode_template(self._image(torch.from_numpy(crops).to(self._device)))
        if self._device.type == "cuda":
            torch.cuda.synchronize()  # searches read them on streams of their own
        return features

    @torch.inference_mode()
    def _search(self, crops: Crops, features: TemplateFeatures, score_map: bool) -> SearchResult:
        if len(features.features) != len(crops):
            raise BackendError(
                f"{len(features.features)} targets' features, {len(crops)} crops: give one crop per target."
            )
        key = (crops.shape[1], len(crops))
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(self._locate, crops, features, self._device, self._graphed)
        return lane.search(crops, features, score_map)

    def _close(self) -> None:
        self._lanes.clear()

    def _image(self, crops: Tensor) -> Tensor:
        return prepare(crops).to(self._dtype).contiguous(memory_format=torch.channels_last)

    def _locate(self, crops: Tensor, features: TemplateFeatures) -> Prediction:
        window = self._windows[crops.shape[1]]
        return decode(self._track(self._image(crops), features), window, size_scale(len(window)))


def _in(model: MVT, dtype: torch.dtype) -> MVT:
    """The network in another precision.

    Batch norms keep theirs: rounding their statistics costs more accuracy than all else together.
    """
    for module in model.modules():
        if not isinstance(module, nn.BatchNorm2d):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return model


class _Lane:
    """Fixed memory and the recorded graph for one side of the crops and one number of targets."""

    def __init__(
        self,
        locate: Callable[[Tensor, TemplateFeatures], Prediction],
        crops: Crops,
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
        grid = crops.shape[1] // STRIDE
        # box (4) and score (1) side by side, so that one small copy brings both
        self._found = torch.empty((len(crops), 5), pin_memory=on_gpu)
        self._map = torch.empty((len(crops), grid, grid), pin_memory=on_gpu)
        self._stream = torch.cuda.Stream(device) if on_gpu else None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._located: Prediction | None = None
        if graphed:
            self._record(crops, features)

    def search(self, crops: Crops, features: TemplateFeatures, score_map: bool) -> SearchResult:
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

    def _keep(self, crops: Crops, features: TemplateFeatures) -> None:
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

    def _record(self, crops: Crops, features: TemplateFeatures) -> None:
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
            "the one from pytorch.org for it; here, leave the device out."
        )
    if not torch.cuda.is_available():
        raise BackendError(
            "PyTorch finds no NVIDIA GPU with a working driver (nvidia-smi lists them): run this on a machine that has "
            "one, or leave the device out."
        )
