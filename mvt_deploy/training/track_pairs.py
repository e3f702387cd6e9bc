"""Pairs from two frames of one annotated track: the only kind that shows how real targets deform."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from .config import Augment, Windows
from .images import Cache, Image
from .layers import beside, occlude, paste
from .photographs import Cutout
from .stills import Stills
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
        augment: How often other objects are pasted into the search crop.
        stills: Photographs to cut other objects out of, or None.
    """

    def __init__(
        self,
        tracks: Sequence[AnnotatedTrack],
        windows: Windows,
        cache: Cache,
        balance: float = 0.0,
        augment: Augment | None = None,
        stills: Stills | None = None,
    ) -> None:
        self._tracks, self._windows, self._cache = tracks, windows, cache
        self._augment, self._stills = augment or Augment(), stills
        self._by_set: dict[str, list[AnnotatedTrack]] = defaultdict(list)
        for track in tracks:
            self._by_set[track.data_set].append(track)
        weights = np.array([len(self._by_set[track.data_set]) ** -balance for track in tracks])
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
        fractions = window.fractions(box)
        search_crop = crops[1][0]
        if self._augment.others and rng.random() < self._augment.others:
            search_crop = self._with_others(rng, search_crop, fractions, track)
        if self._augment.occlude and self._stills is not None:
            search_crop = occlude(rng, search_crop, fractions, self._stills.picture, self._augment.occlude)
        return Pair(crops[0][0], search_crop, fractions)

    def _with_others(
        self, rng: np.random.Generator, crop: Image, fractions: np.ndarray, track: AnnotatedTrack
    ) -> Image:
        """Paste one to three other objects beside the target, almost without covering it."""
        size = crop.shape[0]
        centre, sides = fractions[:2].astype(float) * size, fractions[2:].astype(float) * size
        box = np.concatenate([centre - sides / 2, sides])
        side = math.sqrt(float(sides[0] * sides[1]))
        window = Window(np.full(2, size / 2), float(size))
        for _ in range(int(rng.integers(1, 4))):
            other = (
                self._stills.cutout(rng)
                if self._stills is not None and rng.random() < 0.4
                else self._target(rng, track)
            )
            if other is None:
                continue
            crop = paste(rng, crop, window, beside(rng, *other, box, rng.uniform(1.05, 2.2) * side))
        return crop

    def _target(self, rng: np.random.Generator, track: AnnotatedTrack) -> tuple[Image, Cutout] | None:
        """The target of another track, mostly of the same data set, inside the ellipse that fills its box."""
        same = self._by_set[track.data_set]
        others = same if len(same) > 1 and rng.random() < 0.7 else self._tracks
        other = others[int(rng.integers(len(others)))]
        if other is track:
            return None
        frame = other.frames[int(rng.integers(len(other.frames)))]
        image = self._cache.image(frame.file)
        outline = ellipse(np.asarray(frame.box))
        mask = np.zeros(image.shape[:2], np.uint8)
        x, y, w, h = frame.box
        cv2.ellipse(mask, ((x + w / 2, y + h / 2), (w, h), 0), 255, -1)
        return image, Cutout(np.asarray(cv2.GaussianBlur(mask, (5, 5), 0), np.uint8), outline)


def two_frames(
    rng: np.random.Generator, track: AnnotatedTrack, frame_gap: int
) -> tuple[AnnotatedFrame, AnnotatedFrame]:
    """Draw two frames of a track, possibly the same one, that are at most ``frame_gap`` frames of the video apart."""
    first = track.frames[rng.integers(len(track.frames))]
    numbers = [frame.number for frame in track.frames]
    low = bisect_left(numbers, first.number - frame_gap)
    high = bisect_right(numbers, first.number + frame_gap)
    return first, track.frames[rng.integers(low, high)]
