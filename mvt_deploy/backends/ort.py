"""ONNX Runtime: the backend that runs everywhere, with the execution provider of the user's choice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ..bundle import Bundle, GraphInfo
from ..errors import BackendError, MissingExtra
from .base import SearchResult
from .checks import check_crops, check_process, check_result

Features = dict[str, npt.NDArray[Any]]
Configure = Callable[[Any], None]

OPENVINO_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f32"}
"""Arithmetic OpenVINO is asked for: bf16 runs the fp32 graph in bf16; what an int8 graph leaves in floating point runs
in whatever OpenVINO finds fastest."""
_PLUGIN = "OpenVINOExecutionProvider"


class OrtBackend:
    """Runs a bundle's graphs in ONNX Runtime sessions.

    Args:
        bundle: an opened bundle.
        provider: ``"cpu"``, ``"openvino"`` (the plug-in provider of ``onnxruntime-ep-openvino``) or ``"cuda"``.
        precision: of the graphs to run, ``"fp32"``, ``"fp16"`` or ``"int8"``; ``"bf16"`` with OpenVINO.
        threads: CPU threads of a session; None lets the runtime choose (one a core).
        configure: given each session's ``onnxruntime.SessionOptions`` last, to change what else the runtime can.

    Raises:
        BundleError: the bundle lacks such graphs, or a file is damaged.
        BackendError: the provider is not available here, or refuses a graph.
        MissingExtra: the provider's package is not installed.
    """

    name = "ort"

    def __init__(
        self,
        bundle: Bundle,
        provider: str = "cpu",
        precision: str = "fp32",
        threads: int | None = None,
        configure: Configure = lambda options: None,
    ) -> None:
        if precision == "bf16" and provider != "openvino":
            raise BackendError(
                f"the {provider} provider has no bf16: add --provider openvino, or take --precision fp32 or fp16."
            )
        self.spec = bundle.manifest.tracker
        self.label = f"ort {provider} {precision}"
        self._home = os.getpid()
        stored = "fp32" if precision == "bf16" else precision
        own = {"cpu": "ort", "openvino": "openvino"}.get(provider)
        targets = (own, "portable") if own else ("portable",)
        # The template graph runs once a target: the CPU does it as fast as any provider would start up.
        graphs = [bundle.graph(role, stored, targets) for role in ("template", "search")]
        self._template = _session(bundle, graphs[0], "cpu", precision, threads, configure)
        self._search = _session(bundle, graphs[1], provider, precision, threads, configure)
        self._features = [o.name for o in self._template.get_outputs()]

    def template(self, crops: npt.NDArray[np.uint8]) -> Features:
        check_process(self._home)
        check_crops(crops, self.spec.template_size)
        return dict(zip(self._features, _run(self._template, self._features, {"crop": crops}), strict=True))

    def search(self, crops: npt.NDArray[np.uint8], features: Features, score_map: bool = False) -> SearchResult:
        check_process(self._home)
        check_crops(crops, self.spec.search_size)
        names = ["box", "score", "score_map"] if score_map else ["box", "score"]
        return check_result(SearchResult(*_run(self._search, names, {"crop": crops, **features})), len(crops))

    def close(self) -> None:
        self._template = self._search = None


def _run(session: Any, names: list[str], inputs: Features) -> list[npt.NDArray[Any]]:
    if session is None:
        raise BackendError("this model was closed: load it again.")
    try:
        found: list[npt.NDArray[Any]] = session.run(names, inputs)
    except Exception as error:  # the runtime's own exceptions share no public base class
        raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot run the graph: {error}") from error
    return found


def _session(
    bundle: Bundle, graph: GraphInfo, provider: str, precision: str, threads: int | None, configure: Configure
) -> Any:
    """A session with the runtime's defaults: no other setting was faster (benchmarks/ort_session.py)."""
    path = bundle.path(graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: its warnings speak of nothing a user can mend
    if threads is not None:
        options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    if provider == "cuda":
        providers.insert(0, _require_cuda())
    elif provider == "openvino":
        hints: dict[str, Any] = {}
        if precision in OPENVINO_HINTS:
            hints["INFERENCE_PRECISION_HINT"] = OPENVINO_HINTS[precision]
        if threads is not None:
            hints["INFERENCE_NUM_THREADS"] = threads
        options.add_provider_for_devices([_openvino_device()], {"load_config": json.dumps({"CPU": hints})})
        providers = []
    configure(options)
    try:
        return onnxruntime.InferenceSession(  # without its fallback, which prints and changes the provider unasked
            str(path), options, **({"providers": providers} if providers else {}), enable_fallback=0
        )
    except Exception as error:  # the runtime's own exceptions share no public base class
        raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error


def _require_cuda() -> str:
    name = "CUDAExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        raise BackendError(
            "this ONNX Runtime has no CUDA provider: on a machine with an NVIDIA GPU, "
            "pip uninstall onnxruntime && pip install onnxruntime-gpu; here, leave --provider out."
        )
    return name


def _openvino_device() -> Any:
    """The OpenVINO plug-in's CPU device.

    Raises:
        MissingExtra: the plug-in is not installed.
        BackendError: it is, but cannot be loaded, or offers no device on this machine.
    """
    devices = [d for d in _openvino_devices() if d.device.type == onnxruntime.OrtHardwareDeviceType.CPU]
    if not devices:
        raise BackendError(
            "ONNX Runtime's OpenVINO plug-in offers no device on this processor (it serves Intel's): "
            "use --backend openvino, which runs OpenVINO itself, or --provider cpu."
        )
    return devices[0]


@cache
def _openvino_devices() -> list[Any]:
    """All devices of the plug-in, whose library is registered once per process."""
    try:
        import onnxruntime_ep_openvino as plugin
    except ImportError as error:
        raise MissingExtra("--provider openvino", "openvino", error.name or "onnxruntime_ep_openvino") from error
    try:
        onnxruntime.register_execution_provider_library(_PLUGIN, plugin.get_library_path())
    except Exception as error:
        raise BackendError(f"the OpenVINO plug-in cannot be loaded by this ONNX Runtime: {error}") from error
    return [d for d in onnxruntime.get_ep_devices() if d.ep_name == _PLUGIN]
