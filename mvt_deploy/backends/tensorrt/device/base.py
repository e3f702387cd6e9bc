"""What the runner needs of a CUDA device, whichever package provides it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Gpu:
    """Facts about one GPU.

    Attributes:
        name: Name of the model.
        compute_capability: Compute capability, such as ``"8.9"``.
        driver: Version of the driver.
        cuda: Version of CUDA.
        memory: Memory in bytes.
    """

    name: str
    compute_capability: str
    driver: str
    cuda: str
    memory: int


class Graph(Protocol):
    """Recorded work, replayed as one launch."""

    def launch(self, stream: int) -> None:
        """Enqueue the recorded work on a stream."""
        ...

    def close(self) -> None:
        """Free the graph; calling it twice is allowed."""
        ...


class Device(Protocol):
    """One GPU's primary context (the one PyTorch uses too). Pointers and streams are plain integers.

    Copies are asynchronous, in the order of their stream; host arrays must come from :meth:`pinned` and stay alive
    until the stream is synchronised. Every method raises :class:`~mvt_deploy.errors.BackendError` where CUDA reports an
    error.
    """

    gpu: Gpu

    def stream(self) -> int:
        """A new stream that does not wait for the default one."""
        ...

    def release_stream(self, stream: int) -> None:
        """Give a stream back."""
        ...

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes of device memory."""
        ...

    def free(self, pointer: int) -> None:
        """Give device memory back; unknown or freed addresses are ignored."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """A host array in page-locked memory; it lives until :meth:`unpin`, at most as long as the device is open."""
        ...

    def unpin(self, array: npt.NDArray[Any]) -> None:
        """Give a pinned array back; it must not be used any more."""
        ...

    def upload(self, to: int, array: npt.NDArray[Any], stream: int) -> None:
        """Copy a whole pinned array to device memory."""
        ...

    def download(self, array: npt.NDArray[Any], source: int, stream: int) -> None:
        """Fill a whole pinned array from device memory."""
        ...

    def copy(self, to: int, source: int, size: int, stream: int) -> None:
        """Copy ``size`` bytes within device memory."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait until everything enqueued on the stream is done."""
        ...

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        """Record what ``work`` enqueues on the stream, without running it; None where that is not possible."""
        ...

    def close(self) -> None:
        """Free everything handed out; calling it twice is allowed."""
        ...


def byte_size(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Bytes of an array."""
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def version_text(number: int) -> str:
    """CUDA's version number (``12060``) as people write it (``12.6``)."""
    return f"{number // 1000}.{number % 1000 // 10}"


def driver_release() -> str:
    """The NVIDIA driver's own release (``580.65.06``), empty where the system does not tell."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
    return found.group() if found else ""
