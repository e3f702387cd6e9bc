"""Pairs from two moments of one real clip: the only source of true deformation."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .config import Windows
from .images import Cache, Image
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


@dataclass(frozen=True, slots=True)
class Moment:
    """One annotated frame: its ``file``, its ``number`` in the clip and the target's ``box`` (x, y, w, h; pixels)."""

    file: Path
    number: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Clip:
    """The annotated frames of one target in time order.

    ``recentred``: every frame was cut around its own target, so boxes of different frames do not share coordinates.
    """

    name: str
    moments: tuple[Moment, ...]
    recentred: bool = False


class ClipPairs:
    """Draws pairs from clips: two frames at most ``frame_gap`` apart, either first, mirrored and stretched alike."""

    def __init__(self, clips: Sequence[Clip], windows: Windows, cache: Cache) -> None:
        self._clips, self._windows, self._cache = clips, windows, cache

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """A pair."""
        clip = self._clips[int(rng.integers(len(self._clips)))]
        first, second = self._two(rng, clip)
        mirror = -1 if rng.random() < 0.5 else 1
        aspect = log_normal(rng, 0.12)
        turn = rng.uniform(-0.1, 0.1) if rng.random() < 0.3 else 0.0
        crops: list[tuple[Image, Floats, Window]] = []
        for moment, rotation in ((first, 0.0), (second, turn)):
            stretch = math.sqrt(aspect * log_normal(rng, 0.06))
            mapping = linear_map(rotation, mirror * stretch, 1 / stretch)
            box = extent(ellipse(np.asarray(moment.box)) @ mapping.T)
            search = bool(crops)
            window = search_window(rng, box, self._windows) if search else template_window(box, self._windows)
            size = self._windows.search_size if search else self._windows.template_size
            image = self._cache.image(moment.file)
            crops.append((render(image, mapping, np.zeros(2), window, size, draw_border(rng)), box, window))
        _, box, window = crops[1]
        return Pair(crops[0][0], crops[1][0], window.fractions(box))

    def _two(self, rng: np.random.Generator, clip: Clip) -> tuple[Moment, Moment]:
        first = clip.moments[rng.integers(len(clip.moments))]
        numbers = [moment.number for moment in clip.moments]
        low = bisect_left(numbers, first.number - self._windows.frame_gap)
        high = bisect_right(numbers, first.number + self._windows.frame_gap)
        return first, clip.moments[rng.integers(low, high)]
