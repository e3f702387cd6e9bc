"""State of the whole process: everything the package changes beyond its own objects is changed here, and nowhere else.

Each function says what it changes and who asks for it. None is called when the package is imported.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's <malloc.h>
_STEADY = 1 << 20
_LARGE = 1 << 30


def one_heap() -> bool:
    """Make all threads share one of glibc's heaps, instead of getting heaps of their own that are never given back.

    Called where the command line begins, and by :func:`steady_heap`. It has no effect on heaps that exist already.
    ``MALLOC_ARENA_MAX`` in the environment takes precedence.

    Returns:
        Whether it was set; False where the C library is not glibc, or the environment sets it.
    """
    return "MALLOC_ARENA_MAX" not in os.environ and _mallopt(_M_ARENA_MAX, 1)


def steady_heap() -> bool:
    """Keep glibc's heap from growing in a process that opens sources again and again.

    Called where the OpenVINO backend opens. Every block of 1 MiB or more gets pages of its own, which go back to the
    system when it is freed: by default glibc raises this threshold as large blocks are freed, so that frames and the
    runtime's small blocks come to share one heap, which falls into pieces. New threads share one heap
    (:func:`one_heap`). ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_ARENA_MAX`` in the environment take precedence.

    Returns:
        Whether anything was set; False where the C library is not glibc, or the environment sets both.
    """
    threshold = "MALLOC_MMAP_THRESHOLD_" not in os.environ and _mallopt(_M_MMAP_THRESHOLD, _STEADY)
    return one_heap() or threshold


def no_telemetry() -> None:
    """Keep ONNX Runtime from reporting its use to Microsoft, unless the environment sets ``ORT_DISABLE_TELEMETRY``.

    It takes effect before ONNX Runtime is imported.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def keep_large_blocks() -> bool:
    """Keep blocks of up to 1 GiB in the heap instead of returning them: a fifth more training pairs per second.

    Called where training starts. It sets what ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` set.

    Returns:
        Whether it was set; False where the C library is not glibc.
    """
    return all(_mallopt(name, _LARGE) for name in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD))


def set_torch_threads(threads: int) -> None:
    """Set PyTorch's number of CPU threads. Called where a PyTorch backend is opened with a number of threads."""
    import torch

    torch.set_num_threads(threads)


def use_one_opencv_thread() -> None:
    """Make OpenCV work in the calling thread. Called in worker processes, several of which share the processor."""
    import cv2

    cv2.setNumThreads(1)


def quiet_opencv() -> None:
    """Keep OpenCV and FFmpeg from writing their own lines to stderr, unless the environment sets their log levels.

    Called where a video is opened for reading or writing.
    """
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        place: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 moved it there, 4 has it at the top
        place.setLogLevel(0)  # silent


def _mallopt(name: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(name, value))
