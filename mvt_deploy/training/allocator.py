"""Keeps glibc from returning large blocks to the system after every step: a fifth more pairs per second on a CPU."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_BYTES = 1 << 30


def keep_large_blocks() -> bool:
    """Set what ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` set; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, _BYTES) for name in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD))
