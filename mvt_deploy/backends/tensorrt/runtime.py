"""A stored engine, loaded: its tensors, and execution contexts bound to fixed addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BackendError
from ...files import write_whole
from .flavour import Flavour
from .store import OptimizationProfile, Stored


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of an engine; ``shape`` is that of a single target, without the batch."""

    name: str
    is_input: bool
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def batched(self, n: int) -> tuple[int, ...]:
        """The shape for ``n`` targets."""
        return (n, *self.shape)

    def size(self, n: int) -> int:
        """Bytes for ``n`` targets."""
        return int(np.prod(self.batched(n))) * self.dtype.itemsize


class Engine:
    """A deserialised engine. There must be a GPU: open a device before making one.

    Args:
        stored: The engine's file and its sidecar, which must fit this machine.
        flavour: The TensorRT it was built with.

    Raises:
        BackendError: TensorRT refuses the file.
    """

    def __init__(self, stored: Stored, flavour: Flavour) -> None:
        self._trt = flavour.trt
        logger = self._trt.Logger(self._trt.Logger.ERROR)
        self._runtime = self._trt.Runtime(logger)
        engine = self._runtime.deserialize_cuda_engine(stored.path.read_bytes())
        if engine is None:
            raise BackendError(
                f"{flavour.label} cannot load {stored.path}, built for {stored.info.built_for}: "
                "build it again with  mvt-deploy build."
            )
        self._engine = engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self.tensors = {name: self._tensor(name) for name in names}
        first = next(t.name for t in self.tensors.values() if t.is_input)
        self._profiles = [
            OptimizationProfile(*(int(shape[0]) for shape in engine.get_tensor_profile_shape(first, i)))
            for i in range(engine.num_optimization_profiles)
        ]
        self.max_batch = max(profile.max for profile in self._profiles)
        self._cache = _RuntimeCache(engine, stored.path.with_suffix(".runtime.cache"))

    def _tensor(self, name: str) -> Tensor:
        mode = self._engine.get_tensor_mode(name)
        return Tensor(
            name,
            mode == self._trt.TensorIOMode.INPUT,
            np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))),
            tuple(int(side) for side in self._engine.get_tensor_shape(name))[1:],
        )

    def context(self, n: int, addresses: Mapping[str, int], stream: int) -> Execution:
        """An execution of ``n`` targets that reads and writes device memory at fixed addresses.

        Raises:
            BackendError: The engine takes fewer targets at once, or there is no memory for the execution.
        """
        fitting = [(p.max - p.min, i) for i, p in enumerate(self._profiles) if p.min <= n <= p.max]  # the narrowest
        if not fitting:
            raise BackendError(
                f"this engine takes up to {self.max_batch} targets at once, not {n}: "
                f"build one with  mvt-deploy build --max-batch {n}."
            )
        context = self._cache.create_context(self._engine)
        if context is None:
            raise BackendError("the GPU has no memory left for another execution context: use fewer targets at once.")
        _require(context.set_optimization_profile_async(min(fitting)[1], stream), "its optimisation profile")
        for tensor in self.tensors.values():
            if tensor.is_input:
                _require(context.set_input_shape(tensor.name, tensor.batched(n)), f"{n} targets")
            _require(context.set_tensor_address(tensor.name, addresses[tensor.name]), f"the memory of {tensor.name}")
        return Execution(context)

    def close(self) -> None:
        """Write what TensorRT-RTX compiled for the next start, and free the engine; calling it twice is allowed."""
        if self._engine is not None:
            self._cache.save()
            self._cache.release()
        self._engine = self._runtime = None


class Execution:
    """An execution context with its shapes and addresses set."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def bind(self, name: str, address: int) -> None:
        """Point one tensor at other memory; recorded graphs keep the old address."""
        _require(self._context.set_tensor_address(name, address), f"the memory of {name}")

    def enqueue(self, stream: int) -> None:
        """Run once on a stream, asynchronously."""
        if not self._context.execute_async_v3(stream):
            raise BackendError("TensorRT could not run the engine: build it again with  mvt-deploy build.")

    def capturable(self, stream: int) -> bool:
        """Whether it may be recorded; only TensorRT-RTX can tell, and may still be compiling."""
        probe = getattr(self._context, "is_stream_capturable", None)
        return True if probe is None else bool(probe(stream))


class _RuntimeCache:
    """TensorRT-RTX compiles kernels when an engine first runs; this keeps them beside the engine.

    Of other flavours it knows only how to make a context.
    """

    def __init__(self, engine: Any, path: Path) -> None:
        self._path, self._cache, self._config = path, None, None
        make = getattr(engine, "create_runtime_config", None)
        config = make() if make is not None else None
        if config is None or not hasattr(config, "create_runtime_cache"):
            return
        strategies = type(config.dynamic_shapes_kernel_specialization_strategy)
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER  # shapes stay as they are
        self._config, self._cache = config, config.create_runtime_cache()
        if path.is_file():
            self._cache.deserialize(path.read_bytes())  # refused, and left empty, if it is another machine's
        config.set_runtime_cache(self._cache)

    def create_context(self, engine: Any) -> Any:
        if self._config is None:
            return engine.create_execution_context()
        return engine.create_execution_context(self._config)

    def release(self) -> None:
        self._config = self._cache = None

    def save(self) -> None:
        if self._cache is None:
            return
        content = self._cache.serialize()
        with contextlib.suppress(OSError):  # a read-only bundle only starts slower
            write_whole(self._path, memoryview(content))


def _require(done: bool, what: str) -> None:
    if not done:
        raise BackendError(f"the engine does not accept {what}: build it again with  mvt-deploy build.")
