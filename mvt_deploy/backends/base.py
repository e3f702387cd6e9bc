"""What a backend is: template crops in, features out; search crops and features in, boxes out."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..bundle import TrackerSpec

__all__ = ["Backend", "Features", "SearchResult", "TrackerSpec"]

Features = Any
"""An opaque handle on the template features of one or several targets; it stays where the backend wants it."""


class SearchResult(NamedTuple):
    """The search graph's answer for ``n`` targets.

    ``box`` float32 ``[n, 4]``: centre x, centre y, width, height as fractions of the search crop;
    ``score`` float32 ``[n]`` in 0..1: the score map's value at the chosen cell;
    ``score_map`` float32 ``[n, 16, 16]`` in 0..1, only when asked for.
    """

    box: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    score_map: npt.NDArray[np.float32] | None = None


class Backend(Protocol):
    """Runs the two graphs of a bundle. Crops are uint8 BGR, ``[n, side, side, 3]``, as OpenCV cuts them.

    On the CPU several threads may use one backend at once; on a GPU one at a time. A process forked after it was loaded
    may not: :class:`BackendError`.
    """

    name: str
    label: str
    """Name, provider and precision, for reports."""
    spec: TrackerSpec

    def template(self, crops: npt.NDArray[np.uint8]) -> Features:
        """Encode ``n`` template crops ``[n, 128, 128, 3]``; once per target."""
        ...

    def search(self, crops: npt.NDArray[np.uint8], features: Features, score_map: bool = False) -> SearchResult:
        """Locate ``n`` targets in their search crops ``[n, 256, 256, 3]``, each with its own template features.

        Raises:
            NonFiniteError: the network returned a value that is not finite.
        """
        ...

    def close(self) -> None:
        """Free what the backend holds; calling it twice is allowed."""
        ...
