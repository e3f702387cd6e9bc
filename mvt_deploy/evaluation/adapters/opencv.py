"""The interface of OpenCV's trackers (``cv2.TrackerVit`` and the others), for programs that hold one of those."""

from __future__ import annotations

from collections.abc import Sequence

from ...geometry import BGRImage, Box
from ..runner import SingleTargetTracker, single


class OpenCVTracker:
    """``init(image, box)``, ``update(image)`` and ``getTrackingScore()`` as in OpenCV; frames are BGR uint8.

    Args:
        tracker: The tracker. With a lost policy its state becomes ``ok``; without one ``ok`` is always True.
    """

    def __init__(self, tracker: SingleTargetTracker) -> None:
        self._tracker = tracker
        self._score = 0.0

    def init(self, image: BGRImage, box: Sequence[float]) -> None:
        """Start on a frame with ``x, y, w, h`` in pixels; raises UserError for another kind of frame or box."""
        self._tracker.init(image, Box.of(box))
        self._score = 1.0

    def update(self, image: BGRImage) -> tuple[bool, tuple[int, int, int, int]]:
        """Return ``(ok, (x, y, w, h))``: False while the target is lost; whole pixels, as OpenCV's."""
        found = single(self._tracker.update(image))
        self._score = found.score
        x, y, w, h = (round(v) for v in found.box)
        return found.state == "tracking", (x, y, w, h)

    def getTrackingScore(self) -> float:  # noqa: N802 (OpenCV's name)
        """Return the score of the last frame in 0..1."""
        return self._score
