"""OpenVINO itself, on any x86-64 or Arm CPU: the fastest CPU runtime measured (needs the ``openvino`` extra)."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from ..bundle import Bundle
from ..errors import BackendError
from .base import SearchResult
from .checks import check_crops, check_process, check_result
from .ort import OPENVINO_HINTS

_KEPT = 4  # compiled graphs, of a role and a number of targets

Features = dict[str, npt.NDArray[Any]]


class OpenVinoBackend:
    """Runs a bundle's portable graphs with OpenVINO's CPU plug-in, compiled for each number of targets in use.

    Args:
        bundle: an opened bundle.
        precision: ``"fp32"``; ``"bf16"`` runs the same graphs in bf16; ``"fp16"`` reads the fp16 graphs, ``"int8"``
            the int8 graph, whose other operations run in bf16 where the processor has it.
        threads: CPU threads; None lets OpenVINO choose.

    Raises:
        BundleError: the bundle lacks such graphs, or a file is damaged.
        BackendError: this CPU has no bf16, or OpenVINO refuses a graph.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, precision: str = "fp32", threads: int | None = None) -> None:
        self.spec = bundle.manifest.tracker
        self.label = f"openvino cpu {precision}"
        self._home = os.getpid()
        self._core = openvino.Core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError("this processor has no bf16 arithmetic: use --precision fp32.")
        stored = "fp32" if precision == "bf16" else precision
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if precision in OPENVINO_HINTS:
            self._config["INFERENCE_PRECISION_HINT"] = OPENVINO_HINTS[precision]
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        try:
            self._models = {
                role: self._core.read_model(str(bundle.path(bundle.graph(role, stored, ("openvino", "portable")))))
                for role in ("template", "search")
            }
        except RuntimeError as error:
            raise BackendError(f"OpenVINO {openvino.__version__} cannot read the bundle's graphs: {error}") from error
        self._requests: dict[tuple[str, int], Any] = {}  # the latest used last
        self._turn = threading.Lock()  # a request holds the inputs and outputs of one inference

    def template(self, crops: npt.NDArray[np.uint8]) -> Features:
        check_process(self._home)
        check_crops(crops, self.spec.template_size)
        with self._turn:
            request = self._run("template", {"crop": crops})
            return {o.any_name: request.get_tensor(o).data.copy() for o in request.model_outputs}

    def search(self, crops: npt.NDArray[np.uint8], features: Features, score_map: bool = False) -> SearchResult:
        check_process(self._home)
        check_crops(crops, self.spec.search_size)
        names = ("box", "score", "score_map") if score_map else ("box", "score")
        with self._turn:
            request = self._run("search", {"crop": crops, **features})
            found = SearchResult(*(request.get_tensor(name).data.copy() for name in names))
        return check_result(found, len(crops))

    def close(self) -> None:
        self._requests.clear()
        self._models = {}

    def _run(self, role: str, inputs: Features) -> Any:
        request = self._request(role, len(inputs["crop"]))
        try:
            request.infer(inputs, share_inputs=True)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO {openvino.__version__} cannot run the {role} graph: {error}") from error
        return request

    def _request(self, role: str, batch: int) -> Any:
        """The graph compiled for a fixed number of targets: five percent faster than one for any number."""
        key = (role, batch)
        if not self._models:
            raise BackendError("this model was closed: load it again.")
        if key in self._requests:
            self._requests[key] = self._requests.pop(key)
        else:
            while len(self._requests) >= _KEPT:  # a compiled graph takes some 100 MB
                del self._requests[next(iter(self._requests))]
            model = self._models[role].clone()
            try:
                model.reshape({i.any_name: [batch, *list(i.partial_shape)[1:]] for i in model.inputs})
                self._requests[key] = self._core.compile_model(model, "CPU", self._config).create_infer_request()
            except RuntimeError as error:
                raise BackendError(
                    f"OpenVINO {openvino.__version__} cannot compile the {role} graph: {error}"
                ) from error
        return self._requests[key]
