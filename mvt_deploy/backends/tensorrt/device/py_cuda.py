"""The device layer on pycuda, for machines where that is what is installed (JetPack); it has no CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from ....errors import BackendError
from .base import Gpu, Graph, driver_release, version_text

try:
    import pycuda.driver as drv
except ImportError as error:  # without libcuda.so.1 it does not import
    raise BackendError(
        f"pycuda cannot be loaded ({error}): it needs an NVIDIA GPU and its driver; "
        "run this on a machine that has one, or take the ort backend (--backend ort), which needs none."
    ) from error

_NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``, for which pycuda has no name."""


class PyCuda:
    """The first visible GPU through the CUDA driver API, in its primary context (never ``pycuda.autoinit``'s own)."""

    def __init__(self) -> None:
        with _user_errors():
            drv.init()
            if drv.Device.count() == 0:
                raise BackendError(
                    "no NVIDIA GPU was found (pycuda counts 0 devices): run this on a machine that has one, "
                    "or take the ort backend (--backend ort), which needs none."
                )
            device = drv.Device(0)
            self._context: Any = device.retain_primary_context()
            release, served = driver_release(), version_text(drv.get_driver_version())
            self.gpu = Gpu(
                name=device.name(),
                compute_capability="{}.{}".format(*device.compute_capability()),
                driver=f"{release} (CUDA {served})" if release else f"CUDA {served}",
                cuda=".".join(str(n) for n in drv.get_version()[:2]),
                memory=int(device.total_memory()),
            )
        self._streams: dict[int, Any] = {}
        self._allocated: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}

    @contextmanager
    def _current(self) -> Iterator[None]:
        """The primary context, current in this thread for the time of a call."""
        with _user_errors():
            self._context.push()
            try:
                yield
            finally:
                drv.Context.pop()

    def stream(self) -> int:
        with self._current():
            stream = drv.Stream(_NON_BLOCKING)
            self._streams[int(stream.handle)] = stream
            return int(stream.handle)

    def release_stream(self, stream: int) -> None:
        with self._current():
            self._streams.pop(stream, None)

    def allocate(self, size: int) -> int:
        with self._current():
            memory = drv.mem_alloc(size)
            self._allocated[int(memory)] = memory
            return int(memory)

    def free(self, pointer: int) -> None:
        memory = self._allocated.pop(pointer, None)
        if memory is not None:
            with self._current():
                memory.free()

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        with self._current():
            array: npt.NDArray[Any] = drv.pagelocked_empty(shape, dtype)
            self._pinned[array.ctypes.data] = array
            return array

    def unpin(self, array: npt.NDArray[Any]) -> None:
        self._pinned.pop(array.ctypes.data, None)  # freed with its last reference

    def upload(self, to: int, array: npt.NDArray[Any], stream: int) -> None:
        with self._current():
            drv.memcpy_htod_async(to, array, self._streams[stream])

    def download(self, array: npt.NDArray[Any], source: int, stream: int) -> None:
        with self._current():
            drv.memcpy_dtoh_async(array, source, self._streams[stream])

    def copy(self, to: int, source: int, size: int, stream: int) -> None:
        with self._current():
            drv.memcpy_dtod_async(to, source, size, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        with self._current():
            self._streams[stream].synchronize()

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        return None

    def close(self) -> None:
        if self._context is None:
            return
        with self._current():
            for stream in self._streams.values():
                stream.synchronize()
            self._streams.clear()
            for memory in self._allocated.values():
                memory.free()
            self._allocated.clear()
            self._pinned.clear()
        self._context.detach()
        self._context = None


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except drv.Error as error:
        raise BackendError(f"the GPU refused a call: {error}.") from error
