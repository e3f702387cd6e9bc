"""Tracks as ``supervision.Detections``, for that library's annotators, zones and sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import MissingExtra, UserError
from ...tracker import Track


def detections(tracks: Track | Sequence[Track], ids: Sequence[int] | None = None) -> Any:
    """Make ``supervision.Detections`` of a frame's tracks: ``xyxy``, ``confidence``, ``tracker_id``, ``data["state"]``.

    Args:
        tracks: What ``Tracker.update`` returned.
        ids: One number per track (``tracker_id``); None numbers them 1, 2, …

    Raises:
        MissingExtra: supervision is not installed.
        UserError: There is not one number per track.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtra("the adapter to supervision", "toolkits", error.name or "supervision") from error
    frame = [tracks] if isinstance(tracks, Track) else list(tracks)
    numbers = list(range(1, len(frame) + 1) if ids is None else ids)
    if len(numbers) != len(frame):
        raise UserError(f"detections needs one id per track: {len(frame)} tracks came with {len(numbers)} ids.")
    return supervision.Detections(
        xyxy=np.array([track.box.xyxy for track in frame], np.float32).reshape(-1, 4),
        confidence=np.array([track.score for track in frame], np.float32),
        class_id=np.zeros(len(frame), int),  # annotators choose colours by class unless told otherwise
        tracker_id=np.array(numbers, int),
        data={"state": np.array([track.state for track in frame], object)},
    )
