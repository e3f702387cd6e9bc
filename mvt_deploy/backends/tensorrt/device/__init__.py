"""The GPU's memory, streams and graphs behind a few methods, through cuda-python or pycuda."""

from .base import Device, Gpu, Graph
from .open import open_device

__all__ = ["Device", "Gpu", "Graph", "open_device"]
