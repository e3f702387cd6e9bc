"""Other objects in a crop: pasted beside the target, or over part of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .images import Image
from .photographs import Cutout
from .views import Floats, Window, extent, linear_map, log_normal, render


@dataclass(frozen=True, slots=True)
class Layer:
    """A cut-out in a scene.

    Attributes:
        image: The photograph that it comes from.
        cutout: The object.
        mapping: Linear part ``[2, 2]`` of the map from the photograph to the scene.
        offset: Translation ``[2]`` of the map.
    """

    image: Image
    cutout: Cutout
    mapping: Floats
    offset: Floats


def beside(rng: np.random.Generator, image: Image, cutout: Cutout, box: Floats, distance: float) -> Layer:
    """An object of about the target's size, at a distance in pixels from the target's centre in a random direction."""
    own = extent(cutout.outline)
    scale = math.sqrt(box[2] * box[3] / (own[2] * own[3])) * log_normal(rng, 0.25)
    mirror = -1 if rng.random() < 0.5 else 1
    scale_x, scale_y = mirror * scale * log_normal(rng, 0.1), scale * log_normal(rng, 0.1)
    mapping = linear_map(0.2 * rng.standard_normal(), scale_x, scale_y)
    angle = rng.uniform(0, 2 * math.pi)
    place = box[:2] + box[2:] / 2 + distance * np.array([math.cos(angle), math.sin(angle)])
    return Layer(image, cutout, mapping, place - mapping @ (own[:2] + own[2:] / 2))


def paste(rng: np.random.Generator, scene: Image, window: Window, layer: Layer) -> Image:
    """Paste an object over a scene, with its brightness changed a little."""
    size = scene.shape[0]
    colour = render(layer.image, layer.mapping, layer.offset, window, size, cv2.BORDER_REPLICATE)
    alpha = render(layer.cutout.mask, layer.mapping, layer.offset, window, size, cv2.BORDER_CONSTANT)
    colour = np.asarray(cv2.convertScaleAbs(colour, alpha=log_normal(rng, 0.12)), np.uint8)
    weight = alpha.astype(np.float32) / 255
    return np.asarray(cv2.blendLinear(colour, scene, weight, 1 - weight), np.uint8)


def occlude(
    rng: np.random.Generator,
    search: Image,
    box: np.ndarray,
    picture: Callable[[np.random.Generator], Image],
    chance: float = 0.2,
) -> Image:
    """Cover, by chance, part of the target with a piece of another photograph or with a vertical bar of it.

    Args:
        rng: Random generator of the pair.
        search: Search crop, uint8 BGR ``[size, size, 3]``.
        box: The target: centre x, y, width, height as fractions of the crop's side.
        picture: Draws the covering photograph.
        chance: Probability that the crop is changed.

    Returns:
        The crop, or a changed copy of it.
    """
    if rng.random() >= chance:
        return search
    size = search.shape[0]
    cx, cy, w, h = (float(v) * size for v in box)
    if rng.random() < 0.3:
        width, height, top = w * rng.uniform(0.08, 0.25), float(size), 0.0
    else:
        width, height = w * rng.uniform(0.3, 0.7), h * rng.uniform(0.3, 1.2)
        top = cy - h / 2 + h * rng.uniform(-0.3, 0.8)
    left = cx - w / 2 + w * rng.uniform(-0.3, 0.8)
    x1, y1 = max(0, int(left)), max(0, int(top))
    x2, y2 = min(size, int(left + width)), min(size, int(top + height))
    if x2 - x1 < 2 or y2 - y1 < 2:
        return search
    covered = search.copy()
    covered[y1:y2, x1:x2] = cv2.resize(picture(rng), (x2 - x1, y2 - y1))
    return covered
