"""A rendered clip with exactly known ground truth: a textured target before a moving camera, with an occlusion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import SinkError
from ..files import draft
from ..geometry import BGRImage, Box
from .encoders import open_encoder, require_ending

WIDTH, HEIGHT, FPS = 960, 540, 30.0
SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in the clip.

    Attributes:
        world: Background, BGR uint8 ``[1000, 1700, 3]``, larger than the frame.
        sprite: The target, BGR uint8 ``[160, 220, 3]``.
        mask: Where the sprite covers the world, uint8 ``[160, 220]``, 0 or 255.
        post: What the target passes behind, BGR uint8 ``[420, 46, 3]``.
    """

    world: BGRImage
    sprite: BGRImage
    mask: npt.NDArray[np.uint8]
    post: BGRImage


def scene(seed: int = 7) -> Scene:
    """Draw the scene; the same seed gives the same pixels."""
    random = np.random.default_rng(seed)
    world = _texture(random, 1000, 1700, ((60, 110, 60), (120, 170, 140)))
    for _ in range(220):
        x, y, r = (int(v) for v in random.integers((0, 0, 12), (1700, 1000, 40)))
        colour = tuple(int(c) for c in random.integers(40, 190, 3))
        cv2.ellipse(world, (x, y), (r, max(6, r // 2)), float(random.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    world = np.asarray(cv2.GaussianBlur(world, (0, 0), 1.2), np.uint8)
    sprite = _texture(random, 160, 220, ((20, 40, 160), (60, 120, 240)))
    cv2.rectangle(sprite, (60, 30), (160, 80), (230, 220, 200), -1)
    cv2.line(sprite, (110, 30), (110, 80), (40, 40, 40), 6)
    for centre in ((55, 135), (165, 135)):
        cv2.circle(sprite, centre, 24, (30, 30, 30), -1, cv2.LINE_AA)
        cv2.circle(sprite, centre, 10, (200, 200, 200), -1, cv2.LINE_AA)
    mask = np.zeros((160, 220), np.uint8)
    cv2.rectangle(mask, (0, 60), (219, 135), 255, -1)
    cv2.fillPoly(mask, [np.array([[45, 60], [75, 0], [165, 0], [185, 60]], np.int32)], 255)
    for centre in ((55, 135), (165, 135)):
        cv2.circle(mask, centre, 24, 255, -1)
    return Scene(world, sprite, mask, _texture(random, 420, 46, ((70, 70, 80), (120, 125, 130))))


def _texture(
    random: np.random.Generator, height: int, width: int, colours: tuple[tuple[int, ...], tuple[int, ...]]
) -> BGRImage:
    """Noise of several scales between two colours."""
    total = np.zeros((height, width), np.float32)
    for scale in (4, 12, 40, 120):
        grid = random.random((height // scale + 2, width // scale + 2), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * scale**0.25
    share = cv2.normalize(total, None, 0.0, 1.0, cv2.NORM_MINMAX)[..., None]  # type: ignore[call-overload]
    low, high = (np.array(c, np.float32) for c in colours)
    return np.asarray(low + (high - low) * share, np.uint8)


def frames(count: int = int(SECONDS * FPS), seed: int = 7) -> Iterator[tuple[BGRImage, Box]]:
    """Frames BGR uint8 ``[540, 960, 3]`` and the target's box in each, in pixels, cut to the frame.

    The camera pans and shakes; the target drives, tilts and grows by half; half way it passes behind a post.
    """
    parts = scene(seed)
    yy, xx = np.nonzero(parts.mask)
    outline = cv2.convexHull(np.stack([xx, yy], 1).astype(np.int32))[:, 0].astype(np.float64)
    for i in range(count):
        t = i / max(count - 1, 1)
        camera = np.array([350 + 260 * math.sin(1.6 * t) + 3 * math.sin(i * 0.9), 230 + 60 * math.sin(4 * t)])
        image = parts.world[int(camera[1]) : int(camera[1]) + HEIGHT, int(camera[0]) : int(camera[0]) + WIDTH].copy()
        size, tilt = 0.55 + 0.3 * t, 8 * math.sin(7 * t)
        centre = np.array([520 + 620 * t, 480 + 90 * math.sin(5 * t)]) - camera.astype(int)
        turn = cv2.getRotationMatrix2D((110, 80), tilt, size)
        turn[:, 2] += centre - (110, 80)
        car = cv2.warpAffine(parts.sprite, turn, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        alpha = cv2.warpAffine(parts.mask, turn, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)[..., None] / np.float32(255)
        image = np.asarray(image * (1 - alpha) + car * alpha, np.uint8)
        _draw_post(image, parts.post, 850 - int(camera[0]), 300 - int(camera[1]))
        corners = outline @ turn[:, :2].T + turn[:, 2]
        low = np.clip(corners.min(0), 0, (WIDTH, HEIGHT))
        high = np.clip(corners.max(0) + 1, 0, (WIDTH, HEIGHT))
        yield image, Box(*(float(v) for v in (*low, *(high - low))))


def _draw_post(image: BGRImage, post: BGRImage, x: int, y: int) -> None:
    """Put the post into the image, as far as it is inside."""
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = min(x + post.shape[1], image.shape[1]), min(y + post.shape[0], image.shape[0])
    if x2 > x1 and y2 > y1:
        image[y1:y2, x1:x2] = post[y1 - y : y2 - y, x1 - x : x2 - x]


def render(path: Path, seed: int = 7) -> Path:
    """Write the clip as a video, and its ground truth as ``<name>.txt`` beside it (one line ``x,y,w,h`` per frame).

    Returns:
        The video's path.

    Raises:
        SinkError: The place cannot be written, or OpenCV cannot encode that kind of video here.
    """
    require_ending(path)
    truth = path.with_suffix(".txt")
    try:
        with draft(path) as video, draft(truth) as text:
            encoder = open_encoder(video, FPS, WIDTH, HEIGHT)
            lines = []
            for image, box in frames(seed=seed):
                encoder.write(image)
                lines.append(",".join(f"{value:.3f}" for value in box))
            if not encoder.finish():
                raise SinkError(f"the video '{path}' could not be completed: is the disk full?")
            text.write_text("\n".join(lines) + "\n", encoding="ascii")
    except OSError as error:
        raise SinkError(f"cannot write '{path}': {error.strerror or error}; choose another place.") from error
    return path
