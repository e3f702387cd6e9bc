"""Checks every backend makes on what goes in and what comes out."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from ..errors import BackendError, NonFiniteError
from .base import SearchResult


def check_crops(crops: npt.NDArray[np.uint8], size: int) -> None:
    """Raise :class:`BackendError` unless the crops are uint8 ``[n, size, size, 3]``."""
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
        raise BackendError(f"crops are uint8 BGR [n, {size}, {size}, 3], not {crops.dtype} {list(crops.shape)}.")


def check_result(result: SearchResult, n: int) -> SearchResult:
    """The same result, if it is one of ``n`` targets and finite.

    Raises:
        BackendError: an array has another shape or type, so the graph is not the one it claims to be.
        NonFiniteError: a value is not finite.
    """
    arrays: list[tuple[npt.NDArray[np.float32], tuple[int, ...]]] = [(result.box, (n, 4)), (result.score, (n,))]
    if result.score_map is not None:
        side = result.score_map.shape[-1] if result.score_map.ndim else 0  # a hostile graph may give a single number
        arrays.append((result.score_map, (n, side, side)))
    for array, shape in arrays:
        if array.dtype != np.float32 or array.shape != shape:
            raise BackendError(
                f"the search graph gave {array.dtype} {list(array.shape)} instead of float32 {list(shape)}: "
                "export the bundle again."
            )
    if not (np.isfinite(result.box).all() and np.isfinite(result.score).all()):
        raise NonFiniteError(
            "the network returned a value that is not finite, so there is no box: "
            "the model or its precision is broken; try --precision fp32, or export the bundle again."
        )
    return result


def check_process(home: int) -> None:
    """Raise :class:`BackendError` in a process forked after the model was loaded.

    The runtimes' threads are not there after a fork; waiting for them would take for ever.

    Args:
        home: the id of the process that loaded the model.
    """
    if os.getpid() != home:
        raise BackendError(
            "this model was loaded before the process forked, and its threads stayed behind: "
            "load it in the new process, or start processes with multiprocessing's 'spawn'."
        )
