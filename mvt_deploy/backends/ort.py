"""ONNX Runtime: the backend that runs everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ..bundle import Bundle, GraphInfo
from ..errors import BackendError
from .base import SearchResult
from .checks import check_crops, check_result

Features = dict[str, npt.NDArray[Any]]


class OrtBackend:
    """Runs a bundle's graphs in ONNX Runtime sessions on the CPU.

    Args:
        bundle: an opened bundle.
        precision: of the graphs to run, ``"fp32"`` or ``"fp16"``.
        threads: CPU threads of a session; None lets ONNX Runtime choose (one a core).

    Raises:
        BundleError: the bundle lacks such graphs, or a file is damaged.
        BackendError: ONNX Runtime refuses a graph.
    """

    name = "ort"

    def __init__(self, bundle: Bundle, precision: str = "fp32", threads: int | None = None) -> None:
        self.spec = bundle.manifest.tracker
        self._template = _session(bundle, bundle.graph("template", precision), threads)
        self._search = _session(bundle, bundle.graph("search", precision, ("ort", "portable")), threads)

    def template(self, crops: npt.NDArray[np.uint8]) -> Features:
        check_crops(crops, self.spec.template_size)
        names = [o.name for o in self._template.get_outputs()]
        return dict(zip(names, self._template.run(names, {"crop": crops}), strict=True))

    def search(self, crops: npt.NDArray[np.uint8], features: Features, score_map: bool = False) -> SearchResult:
        check_crops(crops, self.spec.search_size)
        names = ["box", "score", "score_map"] if score_map else ["box", "score"]
        return check_result(SearchResult(*self._search.run(names, {"crop": crops, **features})))

    def close(self) -> None:
        self._template = self._search = None


def _session(bundle: Bundle, graph: GraphInfo, threads: int | None) -> Any:
    path = bundle.path(graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: its warnings speak of nothing a user can mend
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions share no public base class
        raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error
