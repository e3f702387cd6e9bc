"""A device made of host memory: it records what is enqueued and replays it, so the runner is tested anywhere."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mvt_deploy.backends.tensorrt.device import Gpu
from mvt_deploy.errors import BackendError

GPU = Gpu("Test GPU", "8.9", "580.65.06 (CUDA 13.0)", "13.0", 1 << 30)


class HostGraph:
    """Work recorded on a :class:`HostDevice`."""

    def __init__(self, device: HostDevice, work: list[Callable[[], None]]) -> None:
        self._device, self.work, self.launches = device, work, 0

    def launch(self, stream: int) -> None:
        self.launches += 1
        self._device.enqueue(stream, *self.work)

    def close(self) -> None:
        self.work = []


class HostDevice:
    """Work runs when its stream is synchronised, as late as a GPU may run it."""

    def __init__(self, gpu: Gpu = GPU, graphs: bool = True) -> None:
        self.gpu, self._graphs_possible = gpu, graphs
        self.memory: dict[int, npt.NDArray[np.uint8]] = {}
        self.hosts: dict[int, npt.NDArray[Any]] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.graphs: list[HostGraph] = []
        self.allocations = 0
        self.closed = False
        self._recording: list[Callable[[], None]] | None = None

    def enqueue(self, stream: int, *work: Callable[[], None]) -> None:
        (self.queues[stream] if self._recording is None else self._recording).extend(work)

    def stream(self) -> int:
        stream = max(self.queues, default=0) + 1
        self.queues[stream] = []
        return stream

    def release_stream(self, stream: int) -> None:
        self.queues.pop(stream, None)

    def allocate(self, size: int) -> int:
        self.allocations += 1
        block = np.full(size, 0xAB, np.uint8)
        self.memory[block.ctypes.data] = block
        return block.ctypes.data

    def free(self, pointer: int) -> None:
        self.memory.pop(pointer, None)

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        self.allocations += 1
        array = np.zeros(shape, dtype)
        self.hosts[array.ctypes.data] = array
        return array

    def unpin(self, array: npt.NDArray[Any]) -> None:
        self.hosts.pop(array.ctypes.data, None)

    def upload(self, to: int, array: npt.NDArray[Any], stream: int) -> None:
        assert array.ctypes.data in self.hosts, "not pinned"
        self._move(to, array.ctypes.data, array.nbytes, stream)

    def download(self, array: npt.NDArray[Any], source: int, stream: int) -> None:
        assert array.ctypes.data in self.hosts, "not pinned"
        self._move(array.ctypes.data, source, array.nbytes, stream)

    def copy(self, to: int, source: int, size: int, stream: int) -> None:
        self._move(to, source, size, stream)

    def synchronize(self, stream: int) -> None:
        for work in self.queues[stream]:
            work()
        self.queues[stream] = []

    def capture(self, stream: int, work: Callable[[], None]) -> HostGraph | None:
        if not self._graphs_possible:
            return None
        self._recording = []
        try:
            work()
        finally:
            recorded, self._recording = self._recording, None
        self.graphs.append(HostGraph(self, recorded))
        return self.graphs[-1]

    def close(self) -> None:
        self.closed = True
        for stream in list(self.queues):
            self.synchronize(stream)
        self.queues.clear()
        self.memory.clear()
        self.hosts.clear()

    def view(self, pointer: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Device memory as an array."""
        return self.memory[pointer][: int(np.prod(shape)) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

    def _move(self, to: int, source: int, size: int, stream: int) -> None:
        for pointer in (to, source):
            block = self.memory.get(pointer, self.hosts.get(pointer))
            if block is None or block.nbytes < size:
                raise BackendError("the GPU refused a copy: invalid argument.")
        self.enqueue(stream, partial(_copy, to, source, size))


def _copy(to: int, source: int, size: int) -> None:
    ctypes.memmove(to, source, size)
