"""Random changes of appearance that leave the geometry as it is: lighting, colour, noise, blur, compression."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .images import Image
from .views import Pair, log_normal


def _tone(rng: np.random.Generator, strength: float) -> Image:
    """A lookup table ``[256, 1, 3]`` that applies a random gain per channel, offset and gamma."""
    level = np.arange(256, dtype=np.float64)[:, None]
    gain = np.exp(0.05 * strength * rng.standard_normal(3)) * log_normal(rng, 0.2 * strength)
    value = np.clip(level * gain + rng.uniform(-20, 20) * strength, 0, 255)
    return np.asarray((255 * (value / 255) ** log_normal(rng, 0.15 * strength)).astype(np.uint8)[:, None])


def _motion_kernel(length: int, degrees: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    middle = (length - 1) / 2
    turned = cv2.warpAffine(kernel, cv2.getRotationMatrix2D((middle, middle), degrees, 1), (length, length))
    return np.asarray(turned / turned.sum(), np.float32)


def _blur(rng: np.random.Generator, image: Image) -> Image:
    sigma = rng.uniform(0.5, 2.0)
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    return np.asarray(cv2.filter2D(image, -1, _motion_kernel(max(3, int(6 * sigma)), rng.uniform(0, 180))), np.uint8)


def _noise(rng: np.random.Generator, image: Image) -> Image:
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 8))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _compress(rng: np.random.Generator, image: Image) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def appearance(rng: np.random.Generator, image: Image, strength: float = 1.0, blur: float = 1 / 3) -> Image:
    """Change the lighting of a crop and, by chance, add noise, blur and JPEG artefacts.

    Args:
        rng: Random generator of the pair.
        image: BGR crop, uint8.
        strength: Factor on the change of lighting.
        blur: Probability of blur.

    Returns:
        A crop of the same shape and type.
    """
    image = np.asarray(cv2.LUT(image, _tone(rng, strength)), np.uint8)
    if rng.random() < 0.25:
        image = _noise(rng, image)
    if rng.random() < blur:
        image = _blur(rng, image)
    if rng.random() < 1 / 3:
        image = _compress(rng, image)
    return image


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def change_appearance(rng: np.random.Generator, pair: Pair) -> Pair:
    """Change the appearance of both crops of a pair independently; 6 % of the pairs become grey, both crops alike."""
    template, search = pair.template, pair.search
    if rng.random() < 0.06:
        template, search = _grey(template), _grey(search)
    return Pair(appearance(rng, template, 0.6, blur=0.2), appearance(rng, search), pair.box)


def recolour(rng: np.random.Generator, pair: Pair) -> Pair:
    """Change the colours of both crops of a pair alike: turn the hue, change the saturation, invert one pair in eight.

    A network that finds a target by its template gains from it, one that remembers the targets it was trained on does
    not.
    """
    angle = rng.uniform(0, 2 * math.pi)
    turn = cv2.Rodrigues(np.full(3, angle / math.sqrt(3)))[0]  # a rotation around grey keeps the mean of the channels
    grey = np.full((3, 3), 1 / 3)
    matrix = grey + log_normal(rng, 0.3) * (turn - grey)
    offset = np.zeros(3)
    if rng.random() < 1 / 8:
        matrix, offset = -matrix, np.full(3, 255.0)
    affine = np.hstack([matrix, offset[:, None]])
    template, search = (np.asarray(cv2.transform(image, affine), np.uint8) for image in (pair.template, pair.search))
    return Pair(template, search, pair.box)
