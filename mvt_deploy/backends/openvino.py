"""OpenVINO itself, on any x86-64 or Arm CPU: the fastest CPU runtime measured (needs the ``openvino`` extra)."""

from __future__ import annotations

import threading
from typing import Any

import numpy.typing as npt
import openvino

from ..bundle import Bundle, SearchSize
from ..errors import BackendError
from ..process import steady_heap
from .base import Backend, Crops, OpenOptions, SearchResult
from .onnx_session import OPENVINO_HINTS

Features = dict[str, npt.NDArray[Any]]
Key = tuple[str, int, int]
"""Role, side of the crops in pixels, and number of targets of a compiled graph."""

_BATCHES = 2
"""Numbers of targets whose graphs stay compiled; a compiled graph takes some 100 MB."""


class OpenVinoBackend(Backend):
    """Runs a bundle's graphs with OpenVINO's CPU plug-in, compiled for each number of targets in use.

    A graph compiled for a fixed number of targets is five percent faster than one for any number. Opening this backend
    changes settings of the process's allocator (:func:`mvt_deploy.process.steady_heap`).

    Args:
        bundle: An opened bundle.
        precision: ``"fp32"``; ``"bf16"`` runs the same graphs in bf16; ``"fp16"`` reads the fp16 graphs, ``"int8"`` the
            int8 graph, whose other operations run in bf16 where the processor has it.
        threads: CPU threads; None lets OpenVINO choose.
        search_size: Side of the search crops in pixels, ``"auto"`` for all sides, or None for the bundle's default.

    Raises:
        BundleError: The bundle lacks such graphs, or a file is damaged.
        BackendError: This CPU has no bf16, or OpenVINO refuses a graph.
    """

    name = "openvino"

    def __init__(
        self,
        bundle: Bundle,
        precision: str = "fp32",
        threads: int | None = None,
        *,
        search_size: SearchSize = None,
    ) -> None:
        sides = bundle.sizes_of("openvino", precision, search_size)
        pairs = {side: bundle.graphs("openvino", precision, side) for side in sides}
        spec = bundle.manifest.tracker.at(sides[0]) if len(sides) == 1 else bundle.manifest.tracker
        files = {("search", side): bundle.path(pair.search) for side, pair in pairs.items()}
        files["template", spec.template_size] = bundle.path(pairs[spec.search_size].template)
        super().__init__(spec, "cpu", precision, files.values(), sides)
        steady_heap()
        self._core = openvino.Core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError("this processor has no bf16 arithmetic: use the precision fp32.")
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if precision in OPENVINO_HINTS:
            self._config["INFERENCE_PRECISION_HINT"] = OPENVINO_HINTS[precision]
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        try:
            self._models = {key: self._core.read_model(str(path)) for key, path in files.items()}
        except RuntimeError as error:
            raise BackendError(f"OpenVINO {openvino.__version__} cannot read the bundle's graphs: {error}") from error
        self._requests: dict[Key, Any] = {}  # the latest used last
        self._turn = threading.Lock()  # a request holds the inputs and outputs of one inference

    @classmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> OpenVinoBackend:
        return cls(bundle, options.precision or "fp32", options.threads, search_size=options.search_size)

    @property
    def compiled(self) -> tuple[Key, ...]:
        """The graphs that are compiled now, by role, side of the crops and number of targets; the latest used last."""
        return tuple(self._requests)

    def _template(self, crops: Crops) -> Features:
        with self._turn:
            request = self._run("template", {"crop": crops})
            return {o.any_name: request.get_tensor(o).data.copy() for o in request.model_outputs}

    def _search(self, crops: Crops, features: Features, score_map: bool) -> SearchResult:
        names = ("box", "score", "score_map") if score_map else ("box", "score")
        with self._turn:
            request = self._run("search", {"crop": crops, **features})
            return SearchResult(*(request.get_tensor(name).data.copy() for name in names))

    def _close(self) -> None:
        self._requests.clear()
        self._models = {}

    def _run(self, role: str, inputs: Features) -> Any:
        request = self._request(role, inputs["crop"].shape[1], len(inputs["crop"]))
        try:
            request.infer(inputs, share_inputs=True)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO {openvino.__version__} cannot run the {role} graph: {error}") from error
        return request

    def _request(self, role: str, side: int, batch: int) -> Any:
        key = (role, side, batch)
        if key in self._requests:
            self._requests[key] = self._requests.pop(key)
            return self._requests[key]
        while len(self._requests) >= _BATCHES * len(self._models):
            del self._requests[next(iter(self._requests))]
        model = self._models[role, side].clone()
        try:
            model.reshape({i.any_name: [batch, *list(i.partial_shape)[1:]] for i in model.inputs})
            self._requests[key] = self._core.compile_model(model, "CPU", self._config).create_infer_request()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO {openvino.__version__} cannot compile the {role} graph: {error}") from error
        return self._requests[key]
