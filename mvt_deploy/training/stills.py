"""Pairs from photographs: an object that is pasted into two scenes, or two warped windows of one photograph."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from .config import Windows
from .images import Cache, Image
from .layers import Layer, beside, occlude, paste
from .photographs import Cutout, Photograph, box_outlines, cutouts
from .views import (
    Floats,
    Pair,
    Window,
    draw_border,
    extent,
    linear_map,
    log_normal,
    render,
    search_window,
    template_window,
)

_IN_SCENE = 0.5  # largest object, as a share of the photograph's shorter side: a search window needs surroundings


def foreshortening(rng: np.random.Generator) -> tuple[float, float]:
    """Factors on width and height of a target that turns away: in three draws of ten, one of them shrinks."""
    if rng.random() > 0.3:
        return 1.0, 1.0
    factor = float(rng.uniform(0.45, 0.95))
    return (factor, 1.0) if rng.random() < 0.7 else (1.0, factor)


class Stills:
    """Draws photographs and their objects; folders are drawn equally often, whatever their size.

    Args:
        photographs: The photographs.
        cache: Holds decoded images and cut-outs.
    """

    def __init__(self, photographs: Sequence[Photograph], cache: Cache) -> None:
        folders = defaultdict(list)
        for photograph in photographs:
            folders[photograph.file.parent].append(photograph)
        self._all = list(photographs)
        self._cuttable = [kept for _, group in sorted(folders.items()) if (kept := [p for p in group if not p.boxes])]
        self._boxed = [p for p in photographs if p.boxes]
        self._masked = [p for p in photographs if p.mask]
        self._cache = cache

    @property
    def can_paste(self) -> bool:
        """Whether there are photographs to cut objects out of."""
        return bool(self._cuttable)

    def picture(self, rng: np.random.Generator) -> Image:
        """Draw any photograph, as a background."""
        return self._cache.image(self._all[rng.integers(len(self._all))].file)

    def cutout(self, rng: np.random.Generator) -> tuple[Image, Cutout] | None:
        """Draw a photograph and one of its objects; None if nothing can be cut out of the photograph."""
        group = self._cuttable[rng.integers(len(self._cuttable))]
        photograph = group[rng.integers(len(group))]
        found = cutouts(photograph, self._cache)
        return (self._cache.image(photograph.file), found[rng.integers(len(found))]) if found else None

    def in_scene(self, rng: np.random.Generator) -> tuple[Image, Floats, float] | None:
        """Draw a photograph and something in it; None if it has nothing of a fitting size.

        Returns:
            The image, the outline ``[n, 2]``, and the largest rotation in radians at which the extent of the outline
            is still the object's true box.
        """
        kind = rng.random()
        if kind < 0.55 and self._boxed:
            photograph = self._boxed[rng.integers(len(self._boxed))]
            outlines, turn = box_outlines(photograph), 0.06
        elif kind < 0.85 and self._masked:
            photograph = self._masked[rng.integers(len(self._masked))]
            outlines, turn = [cut.outline for cut in cutouts(photograph, self._cache)], 0.35
        else:
            photograph = self._all[rng.integers(len(self._all))]
            outlines, turn = [], 0.03
        image = self._cache.image(photograph.file)
        if turn == 0.03:
            outlines = [_anything(rng, image)]
        if not outlines:
            return None
        outline = outlines[rng.integers(len(outlines))]
        width, height = extent(outline)[2:]
        return (image, outline, turn) if math.sqrt(width * height) < _IN_SCENE * min(image.shape[:2]) else None


def _anything(rng: np.random.Generator, image: Image) -> Floats:
    """The corners ``[4, 2]`` of a random rectangle of an image."""
    height, width = image.shape[:2]
    w, h = rng.uniform(0.08, 0.4, 2) * (width, height)
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return np.array([[x, y], [x + w, y], [x, y + h], [x + w, y + h]])


class ScenePairs:
    """Draws two warped windows of one photograph: rotated, stretched, foreshortened, sometimes occluded."""

    def __init__(self, stills: Stills, windows: Windows) -> None:
        self._stills, self._windows = stills, windows

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """Draw a pair; None if the photograph has no fitting object."""
        subject = self._stills.in_scene(rng)
        if subject is None:
            return None
        image, outline, turn = subject
        mirror = -1 if rng.random() < 0.5 else 1

        def mapping(narrow: float, flat: float) -> Floats:
            shear = rng.uniform(-0.1, 0.1) if turn > 0.1 else 0.0
            scale_x, scale_y = log_normal(rng, 0.16) * narrow, log_normal(rng, 0.16) * flat
            return linear_map(rng.uniform(-turn, turn), mirror * scale_x, scale_y, shear)

        first, second = mapping(1.0, 1.0), mapping(*foreshortening(rng))
        seen = extent(outline @ first.T)
        none = np.zeros(2)
        template = render(
            image, first, none, template_window(seen, self._windows), self._windows.template_size, draw_border(rng)
        )
        box = extent(outline @ second.T)
        window = search_window(rng, box, self._windows)
        search = render(image, second, none, window, self._windows.search_size, draw_border(rng))
        fractions = window.fractions(box)
        return Pair(template, occlude(rng, search, fractions, self._stills.picture), fractions)


class PastePairs:
    """Draws an object pasted into two scenes, among look-alikes and other objects, sometimes occluded."""

    def __init__(self, stills: Stills, windows: Windows) -> None:
        self._stills, self._windows = stills, windows

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """Draw a pair; None if nothing can be cut out of the photograph."""
        subject = self._stills.cutout(rng)
        if subject is None:
            return None
        image, cutout = subject
        mirror = -1 if rng.random() < 0.5 else 1
        base = (mirror * log_normal(rng, 0.1), log_normal(rng, 0.1))

        def mapping(turn: float, narrow: float, flat: float) -> Floats:
            scale_x, scale_y = base[0] * log_normal(rng, 0.15) * narrow, base[1] * log_normal(rng, 0.15) * flat
            return linear_map(turn * rng.standard_normal(), scale_x, scale_y, rng.uniform(-0.15, 0.15))

        scene = self._stills.picture(rng)
        first = mapping(0.09, 1.0, 1.0)
        seen = template_window(extent(cutout.outline @ first.T), self._windows)
        none = np.zeros(2)
        template = _background(rng, scene, self._windows.template_size)
        template = paste(rng, template, seen, Layer(image, cutout, first, none))
        if rng.random() > 0.4:
            scene = self._stills.picture(rng)
        second = mapping(0.21, *foreshortening(rng))
        box = extent(cutout.outline @ second.T)
        window = search_window(rng, box, self._windows)
        search = _background(rng, scene, self._windows.search_size)
        for layer in self._layers(rng, Layer(image, cutout, second, none), box):
            search = paste(rng, search, window, layer)
        fractions = window.fractions(box)
        return Pair(template, occlude(rng, search, fractions, self._stills.picture), fractions)

    def _layers(self, rng: np.random.Generator, target: Layer, box: Floats) -> list[Layer]:
        """The target and up to three other objects, from back to front; those close to it are mostly behind it."""
        layers = [target]
        side = math.sqrt(box[2] * box[3])
        for _ in range(int(rng.choice([0, 0, 1, 1, 2, 3]))):
            other = (target.image, target.cutout) if rng.random() < 0.25 else self._stills.cutout(rng)
            if other is None:
                continue
            distance = rng.uniform(0.7, 1.9) * side
            layer = beside(rng, *other, box, distance)
            behind = distance < 1.1 * side and rng.random() < 0.7
            layers.insert(0 if behind else int(rng.integers(len(layers) + 1)), layer)
        return layers


def _background(rng: np.random.Generator, picture: Image, size: int) -> Image:
    """A random window of a picture, enlarged by a factor of up to 2.5."""
    height, width = picture.shape[:2]
    side = min(height, width) / rng.uniform(1.0, 2.5)
    window = Window(rng.uniform(0.3, 0.7, 2) * (width, height), side)
    mapping = linear_map(0.1 * rng.standard_normal())
    middle = np.array([width / 2, height / 2])
    return render(picture, mapping, middle - mapping @ middle, window, size, cv2.BORDER_REFLECT_101)
