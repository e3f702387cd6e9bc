"""Tracks as ``supervision.Detections``, for that library's annotators, zones and sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import MissingExtra
from ...tracker import Track


def detections(tracks: Track | Sequence[Track], ids: Sequence[int] | None = None) -> Any:
    """``supervision.Detections`` of a frame's tracks.

    Args:
        tracks: what ``Tracker.update`` gave.
        ids: a number for every track (``tracker_id``); default 1, 2, …

    Returns:
        ``xyxy`` in pixels, ``confidence`` in 0..1, ``class_id`` 0, ``tracker_id``, and ``data["state"]``.

    Raises:
        MissingExtra: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtra("the adapter to supervision", "toolkits", error.name or "supervision") from error
    frame = [tracks] if isinstance(tracks, Track) else list(tracks)
    boxes = np.array([track.box.as_tuple() for track in frame], np.float32).reshape(-1, 4)
    return supervision.Detections(
        xyxy=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
        confidence=np.array([track.score for track in frame], np.float32),
        class_id=np.zeros(len(frame), int),  # annotators choose colours by class unless told otherwise
        tracker_id=np.array(range(1, len(frame) + 1) if ids is None else ids, int),
        data={"state": np.array([track.state for track in frame], object)},
    )
