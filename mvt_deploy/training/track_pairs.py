"""Pairs from two frames of one annotated track: the only kind that shows how real targets deform."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

import numpy as np

from .config import Windows
from .images import Cache, Image
from .tracks import AnnotatedFrame, AnnotatedTrack
from .views import (
    Floats,
    Pair,
    Window,
    draw_border,
    ellipse,
    extent,
    linear_map,
    log_normal,
    render,
    search_window,
    template_window,
)


class TrackPairs:
    """Draws pairs of two frames of a track, either of them first, mirrored and stretched alike.

    Args:
        tracks: The tracks to draw from.
        windows: How crops are cut, and how far apart the two frames may be.
        cache: Holds the decoded frames.
        balance: 0 draws every track equally often, 1 every data set (see :class:`~.config.Mix`).
    """

    def __init__(self, tracks: Sequence[AnnotatedTrack], windows: Windows, cache: Cache, balance: float = 0.0) -> None:
        self._tracks, self._windows, self._cache = tracks, windows, cache
        sizes = Counter(track.data_set for track in tracks)
        weights = np.array([sizes[track.data_set] ** -balance for track in tracks])
        self._chances = weights / weights.sum()

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """Draw a pair."""
        track = self._tracks[int(rng.choice(len(self._tracks), p=self._chances))]
        first, second = two_frames(rng, track, self._windows.frame_gap)
        mirror = -1 if rng.random() < 0.5 else 1
        aspect = log_normal(rng, 0.12)
        turn = rng.uniform(-0.1, 0.1) if rng.random() < 0.3 else 0.0
        crops: list[tuple[Image, Floats, Window]] = []
        for frame, rotation in ((first, 0.0), (second, turn)):
            stretch = math.sqrt(aspect * log_normal(rng, 0.06))
            mapping = linear_map(rotation, mirror * stretch, 1 / stretch)
            box = extent(ellipse(np.asarray(frame.box)) @ mapping.T)
            search = bool(crops)
            window = search_window(rng, box, self._windows) if search else template_window(box, self._windows)
            size = self._windows.search_size if search else self._windows.template_size
            image = self._cache.image(frame.file)
            crops.append((render(image, mapping, np.zeros(2), window, size, draw_border(rng)), box, window))
        _, box, window = crops[1]
        return Pair(crops[0][0], crops[1][0], window.fractions(box))


def two_frames(
    rng: np.random.Generator, track: AnnotatedTrack, frame_gap: int
) -> tuple[AnnotatedFrame, AnnotatedFrame]:
    """Draw two frames of a track, possibly the same one, that are at most ``frame_gap`` frames of the video apart."""
    first = track.frames[rng.integers(len(track.frames))]
    numbers = [frame.number for frame in track.frames]
    low = bisect_left(numbers, first.number - frame_gap)
    high = bisect_right(numbers, first.number + frame_gap)
    return first, track.frames[rng.integers(low, high)]
