"""The device layer on NVIDIA's cuda-python (CUDA runtime API): the default."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ....errors import BackendError
from .base import Gpu, Graph, byte_size, driver_release, version_text

try:
    from cuda.bindings import runtime as cudart
except ImportError:  # cuda-python before 12.8
    from cuda import cudart

log = logging.getLogger("mvt_deploy")

NO_GPU = (
    "no NVIDIA GPU with a working driver was found ({}): run this on a machine that has one (nvidia-smi lists it), "
    "or take the ort backend (--backend ort), which needs none."
)


def count_gpus() -> int:
    """Number of visible GPUs, at least one; asks the CUDA runtime only, which is safe without a driver.

    Raises:
        BackendError: There is none, or the driver is too old for the installed cuda-python.
    """
    error, count = cudart.cudaGetDeviceCount()
    if error == cudart.cudaError_t.cudaSuccess and count:
        return int(count)
    driver = cudart.cudaDriverGetVersion()[1] or 0
    built = cudart.cudaRuntimeGetVersion()[1] or 0
    if error == cudart.cudaError_t.cudaErrorInsufficientDriver and driver:
        raise BackendError(
            f"the NVIDIA driver serves CUDA {version_text(driver)}, cuda-python is made for {version_text(built)}: "
            f"update the driver, or  pip install 'cuda-python<{built // 1000}'."
        )
    raise BackendError(NO_GPU.format(error.name if count is None or count else "CUDA counts 0 devices"))


def _call(function: str, *arguments: Any) -> Any:
    """A runtime call's value (None, one value or a tuple), or its error as :class:`BackendError`."""
    error, *values = getattr(cudart, function)(*arguments)
    if error != cudart.cudaError_t.cudaSuccess:
        said = cudart.cudaGetErrorString(error)[1]
        text = said.decode() if isinstance(said, bytes) else str(said)
        remedy = "; use fewer targets at once" if error == cudart.cudaError_t.cudaErrorMemoryAllocation else ""
        raise BackendError(f"the GPU refused {function}: {text} ({error.name}){remedy}.")
    return values[0] if len(values) == 1 else tuple(values) or None


class _CudaGraph:
    def __init__(self, executable: Any) -> None:
        self._executable = executable

    def launch(self, stream: int) -> None:
        _call("cudaGraphLaunch", self._executable, stream)

    def close(self) -> None:
        if self._executable is not None:
            _call("cudaGraphExecDestroy", self._executable)
            self._executable = None


class CudaPython:
    """The first visible GPU through the CUDA runtime, in its primary context."""

    def __init__(self) -> None:
        count_gpus()
        _call("cudaSetDevice", 0)
        properties = _call("cudaGetDeviceProperties", 0)
        cuda, served = _call("cudaRuntimeGetVersion"), version_text(_call("cudaDriverGetVersion"))
        release = driver_release()
        self.gpu = Gpu(
            name=properties.name.decode().rstrip("\0"),
            compute_capability=f"{properties.major}.{properties.minor}",
            driver=f"{release} (CUDA {served})" if release else f"CUDA {served}",
            cuda=version_text(cuda),
            memory=int(properties.totalGlobalMem),
        )
        self._streams: set[int] = set()
        self._allocated: set[int] = set()
        self._pinned: set[int] = set()

    def stream(self) -> int:
        stream = int(_call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking))
        self._streams.add(stream)
        return stream

    def release_stream(self, stream: int) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
            _call("cudaStreamDestroy", stream)

    def allocate(self, size: int) -> int:
        pointer = int(_call("cudaMalloc", size))
        self._allocated.add(pointer)
        return pointer

    def free(self, pointer: int) -> None:
        if pointer in self._allocated:
            self._allocated.remove(pointer)
            _call("cudaFree", pointer)

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        size = byte_size(shape, dtype)
        pointer = int(_call("cudaHostAlloc", max(size, 1), cudart.cudaHostAllocDefault))
        self._pinned.add(pointer)
        memory = (ctypes.c_ubyte * size).from_address(pointer)
        return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

    def unpin(self, array: npt.NDArray[Any]) -> None:
        pointer = array.ctypes.data
        if pointer in self._pinned:
            self._pinned.remove(pointer)
            _call("cudaFreeHost", pointer)

    def upload(self, to: int, array: npt.NDArray[Any], stream: int) -> None:
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        _call("cudaMemcpyAsync", to, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: npt.NDArray[Any], source: int, stream: int) -> None:
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _call("cudaMemcpyAsync", array.ctypes.data, source, array.nbytes, kind, stream)

    def copy(self, to: int, source: int, size: int, stream: int) -> None:
        _call("cudaMemcpyAsync", to, source, size, cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice, stream)

    def synchronize(self, stream: int) -> None:
        _call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        # Thread-local: other threads' allocations (PyTorch's, say) must not spoil the recording.
        _call("cudaStreamBeginCapture", stream, cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        except BackendError as error:
            cudart.cudaStreamEndCapture(stream)
            log.info("no CUDA graph: %s", error)
            return None
        try:
            graph = _call("cudaStreamEndCapture", stream)
            executable = _call("cudaGraphInstantiate", graph, 0)
            _call("cudaGraphDestroy", graph)
            _call("cudaGraphUpload", executable, stream)
        except BackendError as error:
            log.info("no CUDA graph: %s", error)
            return None
        self.synchronize(stream)
        return _CudaGraph(executable)

    def close(self) -> None:
        for stream in list(self._streams):
            self.synchronize(stream)
            self.release_stream(stream)
        for pointer in list(self._allocated):
            self.free(pointer)
        while self._pinned:
            _call("cudaFreeHost", self._pinned.pop())
