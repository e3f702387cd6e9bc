"""TensorRT: engines run from fixed memory with one CUDA graph launch per frame."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ...bundle import Bundle, GraphInfo, SearchSize
from ...errors import BackendError, MissingExtra
from ..base import Backend, Crops, OpenOptions, SearchResult, check_result
from .device import Device, Graph, open_device
from .flavour import NAMES, Flavour, installed_flavours
from .runtime import Engine
from .store import PREFERENCE, default_precision, find_engine

DEPTH = 2
"""Batches in flight at once: while the GPU works on one, the CPU fills the other."""
_KEPT = 4  # numbers of targets per side that keep their memory; what was unused for longest goes first
_FOUND = ("box", "score")  # fetched for every frame; the score map only when asked for


class Features:
    """Template features of ``n`` targets in device memory, freed with the last reference."""

    def __init__(self, device: Device, engine: Engine, n: int) -> None:
        outputs = [t for t in engine.tensors.values() if not t.is_input]
        self.n = n
        self.sizes = {t.name: t.size(n) for t in outputs}
        self.addresses = {name: device.allocate(size) for name, size in self.sizes.items()}
        self._free = weakref.finalize(self, _free, device, tuple(self.addresses.values()))
        self._free.atexit = False  # the driver frees it all by then


def _free(device: Device, addresses: tuple[int, ...]) -> None:
    for address in addresses:
        device.free(address)


class Pending:
    """A search on its way: :meth:`result` waits for it."""

    def __init__(self, lane: _Lane, score_map: bool) -> None:
        self._lane: _Lane | None = lane
        self._score_map = score_map
        self._result: SearchResult | None = None

    def result(self) -> SearchResult:
        """The search's answer; asking again gives the same answer.

        Raises:
            NonFiniteError: The network returned a value that is not finite.
        """
        result = self.wait()
        return check_result(result, len(result.box))

    def wait(self) -> SearchResult:
        """:meth:`result`, without a look at the values."""
        if self._lane is not None:
            self._result = self._lane.collect(self._score_map)
            self._lane = None
        assert self._result is not None
        return self._result


class _Lane:
    """A stream with everything one search of ``n`` targets needs, at addresses that never change."""

    def __init__(self, device: Device, engine: Engine, n: int, graphed: bool) -> None:
        self._device, self._graphed = device, graphed
        self._stream = device.stream()
        tensors = engine.tensors
        self._memory = {name: device.allocate(t.size(n)) for name, t in tensors.items()}
        self._crops: npt.NDArray[np.uint8] = device.pinned(tensors["crop"].batched(n), np.uint8)
        self._found = {name: device.pinned(t.batched(n), t.dtype) for name, t in tensors.items() if not t.is_input}
        self._execution = engine.context(n, self._memory, self._stream)
        self._features: Features | None = None
        self._graph: Graph | None = None
        self._warm = False
        self._pending: Pending | None = None

    @property
    def busy(self) -> bool:
        """Whether a search was started whose result nobody has asked for."""
        return self._pending is not None

    def start(self, crops: Crops, features: Features, score_map: bool) -> Pending:
        if self._pending is not None:
            self._pending.wait()  # its memory is about to be written
        np.copyto(self._crops, crops)
        if features is not self._features:
            for name, size in features.sizes.items():
                self._device.copy(self._memory[name], features.addresses[name], size, self._stream)
            self._features = features
        if not self._warm:
            self._warm_up()
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._work()
        if score_map:
            self._device.download(self._found["score_map"], self._memory["score_map"], self._stream)
        self._pending = Pending(self, score_map)
        return self._pending

    def collect(self, score_map: bool) -> SearchResult:
        self._pending = None
        self._device.synchronize(self._stream)
        names = (*_FOUND, "score_map") if score_map else _FOUND
        return SearchResult(*(self._found[name].copy() for name in names))

    def close(self) -> None:
        if self._pending is not None:
            self._pending.wait()
        if self._graph is not None:
            self._graph.close()
        self._features = None
        del self._execution
        for address in self._memory.values():
            self._device.free(address)
        for array in (self._crops, *self._found.values()):
            self._device.unpin(array)
        self._device.release_stream(self._stream)

    def _work(self) -> None:
        self._device.upload(self._memory["crop"], self._crops, self._stream)
        self._execution.enqueue(self._stream)
        for name in _FOUND:
            self._device.download(self._found[name], self._memory[name], self._stream)

    def _warm_up(self) -> None:
        """Run once, so that nothing is set up lazily any more, then record the graph."""
        self._work()
        self._device.synchronize(self._stream)
        if self._graphed and self._execution.capturable(self._stream):
            self._graph = self._device.capture(self._stream, self._work)
        self._warm = True


class TensorRtBackend(Backend):
    """Runs a bundle's engines on the first visible NVIDIA GPU. One thread at a time may use it.

    Args:
        bundle: An opened bundle with engines (``mvt-deploy build``).
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``; None takes the best one built: fp16, then int8, then fp32.
        search_size: Side of the search crops in pixels, ``"auto"`` for all sides, or None for the bundle's default.
        device: The GPU; None opens it.
        flavours: TensorRT packages to choose from; None looks for those that are installed.
        graph: Whether to record CUDA graphs.

    Attributes:
        max_batch: Largest number of targets that a search takes at once.

    Raises:
        MissingExtra: Neither TensorRT nor a device layer is installed.
        BackendError: There is no GPU, or no engine that fits this GPU and this TensorRT.
        BundleError: The bundle lacks graphs of this precision or side.
    """

    name = "trt"

    def __init__(
        self,
        bundle: Bundle,
        precision: str | None = None,
        *,
        search_size: SearchSize = None,
        device: Device | None = None,
        flavours: list[Flavour] | None = None,
        graph: bool = True,
    ) -> None:
        self._graphed = graph
        self._lanes: dict[tuple[int, int], deque[_Lane]] = {}  # by side and number of targets; last used is last
        self._device = device or open_device()  # counts the GPUs before any TensorRT runtime exists
        flavours = installed_flavours() if flavours is None else flavours
        if not flavours:
            raise MissingExtra("the backend trt", "trt", NAMES[0])
        precision = precision or default_precision(bundle)
        if precision not in PREFERENCE:
            raise BackendError(f"TensorRT engines are {', '.join(PREFERENCE)}, not {precision}: choose one of these.")
        sides = bundle.sizes_of("tensorrt", precision, search_size)
        spec = bundle.manifest.tracker.at(sides[0]) if len(sides) == 1 else bundle.manifest.tracker
        pairs = {side: bundle.graphs("tensorrt", precision, side) for side in sides}
        stored, flavour = find_engine(bundle, pairs[spec.search_size].search, flavours, self._device.gpu)
        graphs = {("search", side): pair.search for side, pair in pairs.items()}
        graphs["template", spec.template_size] = pairs[spec.search_size].template
        found = {key: find_engine(bundle, graph, [flavour], self._device.gpu)[0] for key, graph in graphs.items()}
        found["search", spec.search_size] = stored
        super().__init__(spec, "tensorrt", precision, (engine.path for engine in found.values()), sides)
        self.flavour = flavour
        self._engines: dict[tuple[str, int], Engine] = {}
        for key, engine in found.items():
            self._engines[key] = Engine(engine, flavour)
            self._require_tensors(self._engines[key], graphs[key], bundle)
        self.max_batch = min(engine.max_batch for (role, _), engine in self._engines.items() if role == "search")

    @classmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> TensorRtBackend:
        return cls(bundle, options.precision, search_size=options.search_size)

    @property
    def label(self) -> str:
        """Name and precision, and the TensorRT that runs the engines."""
        return f"{self.name} {self.precision} ({self.flavour.label})"

    def _template(self, crops: Crops) -> Features:
        device, n = self._device, len(crops)
        engine = self._engines["template", self.spec.template_size]
        features = Features(device, engine, n)
        stream = device.stream()
        pinned: npt.NDArray[np.uint8] = device.pinned(crops.shape, np.uint8)
        np.copyto(pinned, crops)
        memory = device.allocate(pinned.nbytes)
        try:
            execution = engine.context(n, {"crop": memory, **features.addresses}, stream)
            device.upload(memory, pinned, stream)
            execution.enqueue(stream)
            device.synchronize(stream)
        finally:
            device.free(memory)
            device.unpin(pinned)
            device.release_stream(stream)
        return features

    def _search(self, crops: Crops, features: Features, score_map: bool) -> SearchResult:
        return self.submit(crops, features, score_map).wait()

    def submit(self, crops: Crops, features: Features, score_map: bool = False) -> Pending:
        """Start a search and return at once.

        Up to two searches of the same side and number of targets run while the caller cuts crops; a third one waits for
        the first. The crops are copied, so that their array may be reused.

        Args:
            crops: uint8 ``[n, side, side, 3]``; the side is one of ``search_sizes``.
            features: Features of the same targets.
            score_map: Whether to return the score map too.

        Raises:
            BackendError: The crops do not fit, or the backend was closed or belongs to another process.
        """
        self._require_usable()
        self._require_crops(crops, self.search_sizes)
        if features.n != len(crops):
            raise BackendError(f"{features.n} targets' features, {len(crops)} crops: give one crop per target.")
        return self._lane_for(crops.shape[1], len(crops)).start(crops, features, score_map)

    def stream(self, batches: Iterable[tuple[Crops, Features]]) -> Iterator[SearchResult]:
        """Search many batches for throughput: the next one is taken while the GPU works on the one before.

        Args:
            batches: Crops and features, as for :meth:`submit`.

        Yields:
            The results in order, one batch behind.
        """
        waiting: deque[Pending] = deque()
        for crops, features in batches:
            waiting.append(self.submit(crops, features))
            if len(waiting) == DEPTH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _close(self) -> None:
        while self._lanes:
            self._drop(next(iter(self._lanes)))
        for engine in self._engines.values():
            engine.close()
        self._engines = {}
        self._device.close()

    def _lane_for(self, side: int, n: int) -> _Lane:
        """A lane for ``n`` targets: an idle one, else a new one up to DEPTH, else the one that was started first."""
        key = (side, n)
        lanes = self._lanes.pop(key, None) or deque()
        self._lanes[key] = lanes
        if len(self._lanes) > _KEPT * len(self.search_sizes):
            self._drop(next(iter(self._lanes)))
        lane = next((lane for lane in lanes if not lane.busy), None)
        if lane is None:
            lane = (
                _Lane(self._device, self._engines["search", side], n, self._graphed) if len(lanes) < DEPTH else lanes[0]
            )
        if lane in lanes:
            lanes.remove(lane)
        lanes.append(lane)
        return lane

    def _drop(self, key: tuple[int, int]) -> None:
        for lane in self._lanes.pop(key):
            lane.close()

    def _require_tensors(self, engine: Engine, graph: GraphInfo, bundle: Bundle) -> None:
        if {t.name: (t.dtype.name, list(t.shape)) for t in engine.tensors.values()} != {
            t.name: (t.dtype, t.shape[1:]) for t in (*graph.inputs, *graph.outputs)
        }:
            raise BackendError(
                f"the engine of {graph.file} has other inputs or outputs than the graph: "
                f"build it again with  mvt-deploy build --model {bundle.folder}."
            )
