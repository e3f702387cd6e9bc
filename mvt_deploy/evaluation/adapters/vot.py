"""The VOT toolkit runs our tracker by its Python protocol (vot-toolkit 0.9 and later). In ``trackers.ini``::

[MVT]
label = MVT
protocol = python
command = mvt_deploy.evaluation.adapters.vot:VotTracker
arg_bundle = /absolute/path/of/models/mvt
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..runner import Model, one
from ..sequence import read_image


class VotTracker:
    """One target; frames are paths of images, regions are ``(x, y, w, h)`` in pixels."""

    multiobject = False

    def __init__(self, bundle: str, backend: str = "ort", precision: str | None = None) -> None:
        self._tracker = Model(Path(bundle), backend, precision)()

    def init(self, frame: str, new: tuple[Any, dict[str, str]]) -> tuple[float, float, float, float]:
        """Start on a region (polygons and masks arrive as rectangles with ``convert = rectangle``)."""
        self._tracker.init(read_image(frame), new[0])
        return new[0]  # type: ignore[no-any-return]

    def update(self, frame: str) -> tuple[tuple[float, float, float, float], dict[str, float]]:
        """The region in the next frame, and its score as the property ``confidence``."""
        found = one(self._tracker.update(read_image(frame)))
        return found.box.as_tuple(), {"confidence": found.score}
