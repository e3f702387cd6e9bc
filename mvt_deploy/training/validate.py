"""How well weights do on clips that were held back: on jittered windows, and chained frame by frame as a tracker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ..geometry import Box, crop, crop_window, iou
from ..network import MVT
from ..network.inference import decode, hann_window, prepare
from .clips import Clip, Moment
from .images import read

_SHIFT, _SCALE = 0.5, 0.15  # of the jittered windows: full range in target sides; deviation of the logarithm
_STEP = 0.15  # standard deviation, in target sides, of the motion drawn between frames cut around their targets
_LOST = 1.5  # target sides the window's centre can be off before the target has left the search window


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Per clip: mean IoU on jittered windows, and AO when chained frame by frame."""

    windows: dict[str, float]
    chained: dict[str, float]

    @property
    def mean_windows(self) -> float:
        """Mean over the clips."""
        return float(np.mean(list(self.windows.values())))

    @property
    def mean_chained(self) -> float:
        """Mean over the clips."""
        return float(np.mean(list(self.chained.values())))


@torch.no_grad()
def validate(model: MVT, clips: Sequence[Clip], seed: int = 0) -> HeldBack:
    """Measure a network in evaluation mode.

    Args:
        model: on any device, in evaluation mode.
        clips: held back from training; the first moment of each is the template.
        seed: of the jitter and the drawn motion.

    Returns:
        The figures per clip; clips of one frame are left out.
    """
    long_enough = [clip for clip in clips if len(clip.moments) > 1]
    windows, chained = {}, {}
    for number, clip in enumerate(long_enough):
        windows[clip.name] = _windows(model, clip, np.random.default_rng([seed, number, 0]))
        chained[clip.name] = _chained(model, clip, np.random.default_rng([seed, number, 1]))
    return HeldBack(windows, chained)


class _Follower:
    """The network on one target: a prior box in, the found box out, both in pixels of the frame."""

    def __init__(self, model: MVT, first: Moment) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._hann = hann_window().to(self._device)
        image = read(first.file, cv2.IMREAD_COLOR)
        self._template = model.encode_template(self._input(crop(image, crop_window(Box(*first.box), 2.0), 128)))

    def _input(self, image: np.ndarray) -> torch.Tensor:
        return prepare(torch.from_numpy(image[None]).to(self._device))

    def find(self, moment: Moment, prior: np.ndarray) -> np.ndarray:
        """The box ``x, y, w, h`` found in a window around ``prior``."""
        window = crop_window(Box(*prior.tolist()), 4.0)
        image = crop(read(moment.file, cv2.IMREAD_COLOR), window, 256)
        found = decode(self._model.track(self._input(image), self._template), self._hann).box[0]
        centre, size = found.cpu().double().numpy().reshape(2, 2) * window.side
        return np.concatenate([centre - size / 2 + (window.x, window.y), size])


def _windows(model: MVT, clip: Clip, rng: np.random.Generator) -> float:
    follower = _Follower(model, clip.moments[0])
    overlaps = []
    for moment in clip.moments[1:]:
        box = np.asarray(moment.box)
        prior = box.copy()
        prior[:2] += rng.uniform(-_SHIFT, _SHIFT, 2) * math.sqrt(box[2] * box[3])
        prior[2:] *= math.exp(_SCALE * rng.standard_normal())
        overlaps.append(float(iou(follower.find(moment, prior), box)))
    return float(np.mean(overlaps))


def _chained(model: MVT, clip: Clip, rng: np.random.Generator) -> float:
    follower = _Follower(model, clip.moments[0])
    overlaps = []
    found, before = np.asarray(clip.moments[0].box), np.asarray(clip.moments[0].box)
    for moment, prior in _priors(clip, rng):
        box = np.asarray(moment.box)
        found = follower.find(moment, prior(found, before))
        overlaps.append(float(iou(found, box)))
        before = box
    return float(np.mean(overlaps))


def _priors(clip: Clip, rng: np.random.Generator) -> Iterator[tuple[Moment, _Prior]]:
    for moment in clip.moments[1:]:
        yield moment, _Prior(np.asarray(moment.box), clip.recentred, _STEP * rng.standard_normal(2))


@dataclass(frozen=True, slots=True)
class _Prior:
    """Where the tracker looks in the next frame: at the last box.

    Where frames share no coordinates, the last box's *error* (shift in target sides, ratio of the sides) is carried
    over to the new frame's truth, and the target's own motion is drawn.
    """

    truth: np.ndarray
    recentred: bool
    motion: np.ndarray

    def __call__(self, found: np.ndarray, before: np.ndarray) -> np.ndarray:
        if not self.recentred:
            return np.concatenate([found[:2], np.maximum(found[2:], 2.0)])
        side, side_before = math.sqrt(self.truth[2] * self.truth[3]), math.sqrt(before[2] * before[3])
        off = ((found[:2] + found[2:] / 2) - (before[:2] + before[2:] / 2)) / side_before + self.motion
        distance = float(np.hypot(*off))
        off *= min(1.0, _LOST / max(distance, 1e-9))
        size = np.clip(found[2:] / side_before * side, 2.0, 4 * side)
        return np.concatenate([self.truth[:2] + self.truth[2:] / 2 + off * side - size / 2, size])
