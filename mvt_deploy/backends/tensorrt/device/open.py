"""The device layer that is installed here."""

from __future__ import annotations

from importlib.util import find_spec

from ....errors import MissingExtra
from .base import Device


def open_device() -> Device:
    """Open the first visible GPU with cuda-python, or with pycuda where only that is installed.

    ``CUDA_VISIBLE_DEVICES`` chooses among several GPUs.

    Raises:
        MissingExtra: Neither package is installed.
        BackendError: There is no GPU or no driver, or the driver is too old for the package.
    """
    if _has("cuda.bindings.runtime") or _has("cuda.cudart"):
        from .cuda_python import CudaPython

        return CudaPython()
    if _has("pycuda"):
        from .py_cuda import PyCuda

        return PyCuda()
    raise MissingExtra("using an NVIDIA GPU", "trt", "cuda-python")


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is absent
        return False
