"""Clips that trajectories are compared over: a dataset's sequences, or short ones made from the shipped photographs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from ...assets import asset
from ...geometry import BGRImage, Box
from ...groundtruth import Boxes
from ..sequence import Dataset
from ..sequence import Sequence as Labelled

WIDTH, HEIGHT = 480, 360
FRAMES = 25
"""Frames of a rendered clip."""


@dataclass(frozen=True, eq=False)
class GateClip:
    """One target in one clip.

    Args:
        name: Name, unique among the clips of a comparison.
        count: Number of frames.
        frames: Gives the frames from the first to the last, BGR uint8 ``[H, W, 3]``, each time it is called.
        truth: float64 ``[count, 4]``: ``x, y, w, h`` in pixels, NaN where the target is absent; ``[1, 4]`` where only
            the first box is known.
    """

    name: str
    count: int
    frames: Callable[[], Iterator[BGRImage]]
    truth: Boxes


def from_dataset(dataset: Dataset, longest: int | None = None) -> list[GateClip]:
    """Take the sequences of a dataset as clips; frames stay on disk until they are needed.

    Args:
        dataset: The dataset.
        longest: Largest number of frames of a clip, the first ones; None takes all.
    """
    return [_from_sequence(sequence, longest) for sequence in dataset.sequences]


def _from_sequence(sequence: Labelled, longest: int | None) -> GateClip:
    count = len(sequence.frames) if longest is None else min(longest, len(sequence.frames))
    return GateClip(sequence.name, count, partial(_read, sequence, count), sequence.truth[:count])


def _read(sequence: Labelled, count: int) -> Iterator[BGRImage]:
    return (sequence.read(i) for i in range(count))


@dataclass(frozen=True, slots=True)
class _Shot:
    """A target in a shipped photograph, and how far the camera swings around it."""

    name: str
    photograph: str
    box: Box
    swing: float  # amplitude of the pan, in sides of the target


_SHOTS = (
    _Shot("head", "astronaut.jpg", Box(153, 13, 150, 180), 0.5),
    _Shot("helmet", "astronaut.jpg", Box(277, 343, 225, 168), 0.5),
    _Shot("badge", "astronaut.jpg", Box(131, 345, 81, 82), 0.8),
    _Shot("eye", "chelsea.jpg", Box(134, 86, 74, 62), 0.6),
    _Shot("cup", "coffee.jpg", Box(171, 15, 238, 263), 0.4),
    _Shot("spoon", "coffee.jpg", Box(325, 238, 80, 88), 0.6),
)


def rendered(frames: int = FRAMES) -> list[GateClip]:
    """Render clips of a camera that pans, zooms, rolls and changes its exposure over the shipped photographs.

    The targets are things in the pictures, so their boxes are known in every frame: the bounding box of the ellipse
    inscribed in the target's box, turned and scaled with the picture.

    Args:
        frames: Number of frames of each clip.
    """
    return [_filmed(shot, seed, frames) for seed, shot in enumerate(_SHOTS)]


def _filmed(shot: _Shot, seed: int, frames: int) -> GateClip:
    views = _views(shot, seed, frames)
    return GateClip(
        shot.name, frames, partial(_film, shot, views), np.array([_seen(shot.box, *view) for view in views])
    )


View = tuple[float, float, float, float]
"""Scale, roll in radians, and the place of the target's centre in the frame: x and y in pixels."""


def _views(shot: _Shot, seed: int, frames: int) -> list[View]:
    random = np.random.default_rng(seed)
    phases = random.uniform(0, 2 * math.pi, 4)
    base = min(1.2, 130 / math.sqrt(shot.box.w * shot.box.h))  # targets of about 80 to 130 pixels
    made = []
    for i in range(frames):
        turn = 2 * math.pi * i / FRAMES
        made.append(
            (
                base * math.exp(0.2 * math.sin(turn + phases[0])),
                0.12 * math.sin(turn + phases[1]),
                WIDTH / 2 + 90 * shot.swing * math.sin(1.5 * turn + phases[2]) + float(random.normal(0, 1)),
                HEIGHT / 2 + 60 * shot.swing * math.sin(turn + phases[3]) + float(random.normal(0, 1)),
            )
        )
    return made


def _film(shot: _Shot, views: Sequence[View]) -> Iterator[BGRImage]:
    picture = cv2.imread(str(asset("photographs") / shot.photograph), cv2.IMREAD_COLOR)
    random = np.random.default_rng(len(shot.name))
    for i, (scale, roll, x, y) in enumerate(views):
        matrix = np.asarray(cv2.getRotationMatrix2D(shot.box.centre, -math.degrees(roll), scale), np.float64)
        matrix[:, 2] += np.array([x, y]) - shot.box.centre
        image = cv2.warpAffine(
            np.asarray(picture), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        noise = random.normal(0, 3, image.shape)
        yield np.asarray(np.clip(image * (1 + 0.15 * math.sin(i / 4)) + noise, 0, 255), np.uint8)


def _seen(box: Box, scale: float, roll: float, x: float, y: float) -> tuple[float, float, float, float]:
    """The bounding box of the inscribed ellipse after scaling and turning, its centre at ``x, y``."""
    w = scale * math.hypot(box.w * math.cos(roll), box.h * math.sin(roll))
    h = scale * math.hypot(box.w * math.sin(roll), box.h * math.cos(roll))
    return x - w / 2, y - h / 2, w, h
