"""A TensorRT whose engines are ONNX files run by ONNX Runtime in the memory of a :class:`HostDevice`.

It has the part of TensorRT's runtime API that the runner uses, so the runner's own work (addresses, streams, graphs,
batches) is checked for its numbers on any machine.
"""

from __future__ import annotations

import enum
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from host_device import HostDevice

from mvt_deploy.backends.tensorrt.flavour import Flavour
from mvt_deploy.backends.tensorrt.plan import Plan
from mvt_deploy.backends.tensorrt.store import EngineInfo, OptimizationProfile, Stored, stem, write_engine
from mvt_deploy.bundle import Bundle

PROFILES = [OptimizationProfile(1, 1, 1), OptimizationProfile(1, 4, 8)]
_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}


class Mode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class OrtEngine:
    """``ICudaEngine``."""

    def __init__(self, device: HostDevice, blob: bytes) -> None:
        self.device = device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
        self.inputs = {v.name: v for v in self.session.get_inputs()}
        self.outputs = {v.name: v for v in self.session.get_outputs()}
        self.all = [*self.inputs.values(), *self.outputs.values()]
        self.num_io_tensors = len(self.all)
        self.num_optimization_profiles = len(PROFILES)

    def get_tensor_name(self, index: int) -> str:
        return str(self.all[index].name)

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name in self.inputs else Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        return str({v.name: v.type for v in self.all}[name])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *{v.name: v.shape for v in self.all}[name][1:])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        p, rest = PROFILES[index], self.get_tensor_shape(name)[1:]
        return [(p.min, *rest), (p.opt, *rest), (p.max, *rest)]

    def create_execution_context(self) -> OrtContext:
        return OrtContext(self)


class OrtContext:
    """``IExecutionContext``."""

    def __init__(self, engine: OrtEngine) -> None:
        self.engine, self.profile = engine, -1
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.get_tensor_profile_shape(name, self.profile)
        self.shapes[name] = shape
        return least[0] <= shape[0] <= most[0] and shape[1:] == least[1:]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return memory in self.engine.device.memory

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine, addresses = self.engine, dict(self.addresses)

        def run() -> None:
            views = {
                name: engine.device.view(addresses[name], shape, _TYPES[engine.inputs[name].type])
                for name, shape in self.shapes.items()
            }
            for name, value in zip(engine.outputs, engine.session.run(list(engine.outputs), views), strict=True):
                engine.device.view(addresses[name], value.shape, value.dtype)[...] = value

        engine.device.enqueue(stream_handle, run)
        return True


def flavour(device: HostDevice, version: str = "10.13.0", name: str = "tensorrt") -> Flavour:
    """A flavour whose engines run on ``device``."""

    class Runtime:
        def __init__(self, logger: Any) -> None:
            pass

        def deserialize_cuda_engine(self, blob: bytes) -> OrtEngine | None:
            return None if blob == b"not an engine" else OrtEngine(device, blob)

    class Logger:
        ERROR = 1

        def __init__(self, severity: int) -> None:
            pass

    trt = SimpleNamespace(Runtime=Runtime, Logger=Logger, TensorIOMode=Mode, nptype=lambda kind: _TYPES[kind])
    return Flavour(name, version, trt)


def store(
    bundle: Bundle,
    precision: str,
    made_by: Flavour,
    device: HostDevice,
    blob: bytes | None = None,
    search_size: int | None = None,
    **changed: Any,
) -> list[Stored]:
    """The engines of a precision and a side, "built" by a flavour for a device."""
    stored = []
    for graph in bundle.graphs("tensorrt", precision, search_size):
        content = bundle.path(graph).read_bytes() if blob is None else blob
        digest = hashlib.sha256(content).hexdigest()
        facts: dict[str, Any] = {
            "format": 1, "file": f"{stem(graph)}.engine", "sha256": digest,
            "created": "2026-01-01T00:00:00+00:00", "role": graph.role, "precision": graph.precision,
            "graph": graph.file, "graph_sha256": graph.sha256, "flavour": made_by.name, "version": made_by.version,
            "gpu": device.gpu.name, "compute_capabilities": [device.gpu.compute_capability],
            "driver": device.gpu.driver, "cuda": device.gpu.cuda, "profiles": PROFILES, "level": 3,
            "build_seconds": 1.0, "timing_cache": 0, "plan": Plan(1, 0, 0, 0, 0, 0),
        }  # fmt: skip
        folder: Path = bundle.engines / f"{made_by.name}-{made_by.version}-test"
        stored.append(write_engine(folder, content, EngineInfo(**facts | changed)))
    return stored
