"""The one maker of ONNX Runtime sessions: every graph the package runs in that runtime is opened here."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ..errors import BackendError, MissingExtra

Array = npt.NDArray[Any]
Configure = Callable[[onnxruntime.SessionOptions], None]

OPENVINO_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f32"}
"""Arithmetic that OpenVINO is asked for, by precision. bf16 runs the fp32 graph in bf16; what an int8 graph leaves in
floating point runs in whatever OpenVINO finds fastest."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An execution provider in a package of its own, which ONNX Runtime loads as a library.

    Attributes:
        package: Python module of the package.
        name: ONNX Runtime's name of the provider.
        extra: Optional dependency group that holds the package.
        on_gpu: Whether it runs on a GPU; otherwise on the CPU.
        none: What to do where it offers no device.
    """

    package: str
    name: str
    extra: str
    on_gpu: bool
    none: str


PLUGINS = {
    "openvino": Plugin(
        "onnxruntime_ep_openvino",
        "OpenVINOExecutionProvider",
        "openvino",
        False,
        "ONNX Runtime's OpenVINO plug-in offers no device on this processor (it serves Intel's): use the backend "
        "openvino, which runs OpenVINO itself, or the provider cpu.",
    ),
    "tensorrt-rtx": Plugin(
        "onnxruntime_ep_nv_tensorrt_rtx",
        "NvTensorRTRTXExecutionProvider",
        "ort-trt-rtx",
        True,
        "ONNX Runtime's TensorRT-RTX plug-in offers no device here (it serves RTX GPUs of compute capability 8.0, 8.6, "
        "8.9 and 12): use the provider cuda or cpu.",
    ),
}
"""Execution providers that are libraries of their own, by the name that a user gives."""


class OnnxSession:
    """A graph in ONNX Runtime, with the runtime's default settings: no other was faster (benchmarks/ort_session.py).

    Args:
        model: The graph's file, or its bytes.
        provider: ``"cpu"``, ``"cuda"``, or one of :data:`PLUGINS`.
        precision: Arithmetic that the OpenVINO provider is asked for.
        threads: CPU threads; None lets the runtime choose (one per core).
        fuse_qdq: Whether the runtime may turn Q/DQ pairs into its own int8 operators. Its operators for fp16 pairs give
            wrong numbers, so TensorRT's graphs run as they are written.
        configure: Called with the session's options last, to change what else the runtime can.

    Attributes:
        inputs: Names of the inputs, in the graph's order.
        outputs: Names of the outputs, in the graph's order.
        types: Element type, such as ``"uint8"``, and shape of every input and output, by name.

    Raises:
        BackendError: The provider is not available here, or refuses the graph.
        MissingExtra: The provider's package is not installed.
    """

    def __init__(
        self,
        model: Path | bytes,
        provider: str = "cpu",
        precision: str = "fp32",
        threads: int | None = None,
        *,
        fuse_qdq: bool = True,
        configure: Configure | None = None,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: its warnings tell nothing that a user can act on
        if threads is not None:
            options.intra_op_num_threads = threads
        if not fuse_qdq:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        providers: dict[str, list[str]] = {"providers": ["CPUExecutionProvider"]}
        if provider == "cuda":
            providers["providers"].insert(0, _require_cuda())
        elif provider in PLUGINS:
            options.add_provider_for_devices([_plugin_device(provider)], _plugin_options(provider, precision, threads))
            providers = {}
        if configure is not None:
            configure(options)
        source = model if isinstance(model, bytes) else str(model)
        try:
            # without its fallback, which prints on stdout and changes the provider unasked
            self._session = onnxruntime.InferenceSession(source, options, **providers, enable_fallback=0)
        except Exception as error:  # the runtime's own exceptions share no public base class
            what = "the graph" if isinstance(model, bytes) else model
            raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot load {what}: {error}") from error
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())
        self.types = {
            value.name: (value.type.removeprefix("tensor(").removesuffix(")"), list(value.shape))
            for value in (*self._session.get_inputs(), *self._session.get_outputs())
        }

    def run(self, inputs: dict[str, Array], outputs: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Run the graph once.

        Args:
            inputs: Arrays by name; names that the graph does not have are left out.
            outputs: Names of the outputs wanted; None for all.

        Raises:
            BackendError: The runtime cannot run the graph on these arrays.
        """
        wanted = self.outputs if outputs is None else outputs
        given = {name: inputs[name] for name in self.inputs if name in inputs}
        try:
            found = self._session.run(wanted, given)
        except Exception as error:  # the runtime's own exceptions share no public base class
            raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot run the graph: {error}") from error
        return dict(zip(wanted, map(np.asarray, found), strict=True))


def _require_cuda() -> str:
    name = "CUDAExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        raise BackendError(
            "this ONNX Runtime has no CUDA provider: on a machine with an NVIDIA GPU, "
            "pip uninstall onnxruntime && pip install onnxruntime-gpu; here, take the provider cpu."
        )
    return name


def _plugin_options(provider: str, precision: str, threads: int | None) -> dict[str, str]:
    if provider != "openvino":
        return {}
    hints: dict[str, Any] = {}
    if precision in OPENVINO_HINTS:
        hints["INFERENCE_PRECISION_HINT"] = OPENVINO_HINTS[precision]
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = threads
    return {"load_config": json.dumps({"CPU": hints})}


def _plugin_device(provider: str) -> Any:
    """The first device of a plug-in.

    Raises:
        MissingExtra: The plug-in is not installed.
        BackendError: It cannot be loaded, or offers no device on this machine.
    """
    plugin = PLUGINS[provider]
    kinds = onnxruntime.OrtHardwareDeviceType
    kind = kinds.GPU if plugin.on_gpu else kinds.CPU
    devices = [d for d in _plugin_devices(provider) if d.device.type == kind]
    if not devices:
        raise BackendError(plugin.none)
    return devices[0]


@cache
def _plugin_devices(provider: str) -> list[Any]:
    """All devices of a plug-in, whose library is registered once per process."""
    plugin = PLUGINS[provider]
    try:
        package = importlib.import_module(plugin.package)
    except ImportError as error:
        raise MissingExtra(f"the provider {provider}", plugin.extra, error.name or plugin.package) from error
    try:
        onnxruntime.register_execution_provider_library(plugin.name, package.get_library_path())
    except Exception as error:  # the runtime's own exceptions share no public base class
        raise BackendError(f"ONNX Runtime's plug-in for the provider {provider} cannot be loaded: {error}") from error
    return [d for d in onnxruntime.get_ep_devices() if d.ep_name == plugin.name]
