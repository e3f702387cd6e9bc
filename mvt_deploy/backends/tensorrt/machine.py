"""The GPU in this machine, if there is one."""

from __future__ import annotations

from ...errors import BackendError, MissingExtra
from .device import Gpu, open_device


def gpu_here() -> Gpu | None:
    """Facts about the first visible GPU; None where there is none, or nothing installed that could reach it."""
    try:
        device = open_device()
    except (BackendError, MissingExtra):
        return None
    gpu = device.gpu
    device.close()
    return gpu
