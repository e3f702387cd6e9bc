"""The VOT toolkit runs MVT by its Python protocol (vot-toolkit 0.9 and later). In ``trackers.ini``::

[MVT]
label = MVT
protocol = python
command = mvt_deploy.evaluation.adapters.vot:VotTracker
arg_bundle = /absolute/path/of/models/mvt
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...geometry import Box
from ..runner import TrackerFactory, single
from ..sequence import read_image


class VotTracker:
    """Tracks one target; frames are paths of images, regions are ``(x, y, w, h)`` in pixels."""

    multiobject = False

    def __init__(self, bundle: str, backend: str = "ort", precision: str | None = None) -> None:
        self._tracker = TrackerFactory(Path(bundle), backend, precision)()

    def init(self, frame: str, new: tuple[Any, dict[str, str]]) -> tuple[float, float, float, float]:
        """Start on a region (polygons and masks arrive as rectangles with ``convert = rectangle``)."""
        box = Box.of(new[0])
        self._tracker.init(read_image(frame), box)
        return box

    def update(self, frame: str) -> tuple[tuple[float, float, float, float], dict[str, float]]:
        """Return the region in the next frame, and its score as the property ``confidence``."""
        found = single(self._tracker.update(read_image(frame)))
        return found.box, {"confidence": found.score}
