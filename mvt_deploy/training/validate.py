"""Measures weights on tracks that were held back: on jittered windows, and chained frame by frame as a tracker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..geometry import Box, crop, crop_window, iou
from ..network import MVT
from ..network.inference import decode, hann_window, prepare
from .images import read
from .tracks import AnnotatedFrame, AnnotatedTrack

Floats = npt.NDArray[np.float64]
LOST_IOU = 0.2
"""A target counts as lost in a frame where the IoU with its true box is below this."""
_SHIFT, _SCALE = 0.5, 0.15  # jittered windows: range of the shift in target sides; deviation of the scale's logarithm
_STEP = 0.15  # standard deviation, in target sides, of the motion drawn between frames cut around their targets
_LOST = 1.5  # target sides the window's centre can be off before the target has left the search window


@dataclass(frozen=True, slots=True)
class FrameResults:
    """The results of one track, frame by frame, without the first frame.

    Attributes:
        iou: IoU with the true box, ``[n]``.
        score: The network's score, ``[n]``.
    """

    iou: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Figures of every track by its name.

    Attributes:
        windows: Mean IoU on jittered windows.
        chained: AO when every window is cut around the box that was found in the frame before.
        auroc: Area under the ROC curve of the score as a sign that the target is tracked (IoU of at least 0.2), over
            all frames of all chained tracks; NaN where no target was ever lost.
    """

    windows: dict[str, float]
    chained: dict[str, float]
    auroc: float = math.nan

    @property
    def mean_windows(self) -> float:
        """Mean of ``windows`` over the tracks."""
        return float(np.mean(list(self.windows.values())))

    @property
    def mean_chained(self) -> float:
        """Mean of ``chained`` over the tracks."""
        return float(np.mean(list(self.chained.values())))


@torch.no_grad()
def validate(model: MVT, tracks: Sequence[AnnotatedTrack], seed: int = 0) -> HeldBack:
    """Measure a network.

    Args:
        model: The network in evaluation mode, on any device.
        tracks: Tracks held back from training; the first frame of each gives the template. Those of one frame are left
            out.
        seed: Seed of the jitter and of the drawn motion.
    """
    long_enough = [track for track in tracks if len(track.frames) > 1]
    windows: dict[str, float] = {}
    chained: dict[str, FrameResults] = {}
    for number, track in enumerate(long_enough):
        windows[track.name] = float(_windows(model, track, np.random.default_rng([seed, number, 0])).iou.mean())
        chained[track.name] = _chained(model, track, np.random.default_rng([seed, number, 1]))
    ious, scores = (
        np.concatenate([getattr(results, name) for results in chained.values()]) if chained else np.empty(0)
        for name in ("iou", "score")
    )
    return HeldBack(
        windows,
        {name: float(results.iou.mean()) for name, results in chained.items()},
        auroc(scores, ious >= LOST_IOU),
    )


def auroc(score: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the probability that a positive has a higher score than a negative; ties count half.

    Args:
        score: Scores ``[n]``.
        positive: Which of them are positives ``[n]``.

    Returns:
        0..1, or NaN where there are no positives or no negatives.
    """
    low = np.sort(score[~positive])
    high = score[positive]
    if not len(low) or not len(high):
        return math.nan
    below, up_to = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + up_to).mean() / (2 * len(low)))


class _Follower:
    """The network on one target: finds the target's box in a window around a prior box, both in pixels."""

    def __init__(self, model: MVT, first: AnnotatedFrame) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._hann = hann_window().to(self._device)
        image = read(first.file, cv2.IMREAD_COLOR)
        self._template = model.encode_template(self._input(crop(image, crop_window(Box(*first.box), 2.0), 128)))

    def _input(self, image: np.ndarray) -> torch.Tensor:
        return prepare(torch.from_numpy(image[None]).to(self._device))

    def find(self, frame: AnnotatedFrame, prior: Floats) -> tuple[Floats, float]:
        """The box ``x, y, w, h`` that is found in a window around ``prior``, and its score."""
        window = crop_window(Box(*prior.tolist()), 4.0)
        image = crop(read(frame.file, cv2.IMREAD_COLOR), window, 256)
        found = decode(self._model.track(self._input(image), self._template), self._hann)
        centre, size = found.box[0].cpu().double().numpy().reshape(2, 2) * window.side
        return np.concatenate([centre - size / 2 + (window.x, window.y), size]), float(found.score[0])


def _windows(model: MVT, track: AnnotatedTrack, rng: np.random.Generator) -> FrameResults:
    follower = _Follower(model, track.frames[0])
    overlaps, scores = [], []
    for frame in track.frames[1:]:
        box = np.asarray(frame.box)
        prior = box.copy()
        prior[:2] += rng.uniform(-_SHIFT, _SHIFT, 2) * math.sqrt(box[2] * box[3])
        prior[2:] *= math.exp(_SCALE * rng.standard_normal())
        found, score = follower.find(frame, prior)
        overlaps.append(float(iou(found, box)))
        scores.append(score)
    return FrameResults(np.array(overlaps), np.array(scores))


def _chained(model: MVT, track: AnnotatedTrack, rng: np.random.Generator) -> FrameResults:
    follower = _Follower(model, track.frames[0])
    overlaps, scores = [], []
    found = before = np.asarray(track.frames[0].box)
    for frame, prior in _priors(track, rng):
        box = np.asarray(frame.box)
        found, score = follower.find(frame, prior(found, before))
        overlaps.append(float(iou(found, box)))
        scores.append(score)
        before = box
    return FrameResults(np.array(overlaps), np.array(scores))


def _priors(track: AnnotatedTrack, rng: np.random.Generator) -> Iterator[tuple[AnnotatedFrame, _Prior]]:
    for frame in track.frames[1:]:
        yield frame, _Prior(np.asarray(frame.box), track.recentred, _STEP * rng.standard_normal(2))


@dataclass(frozen=True, slots=True)
class _Prior:
    """Where the tracker looks in the next frame: around the last box.

    Where the frames share no coordinates, the error of the last box (its shift in target sides, the ratio of its sides
    to the true ones) is carried over to the true box of the next frame, and a motion of the target is drawn.
    """

    truth: Floats
    recentred: bool
    motion: Floats

    def __call__(self, found: Floats, before: Floats) -> Floats:
        """The prior box, from the box found in the frame before and the true box there."""
        if not self.recentred:
            return np.concatenate([found[:2], np.maximum(found[2:], 2.0)])
        side, side_before = math.sqrt(self.truth[2] * self.truth[3]), math.sqrt(before[2] * before[3])
        off = ((found[:2] + found[2:] / 2) - (before[:2] + before[2:] / 2)) / side_before + self.motion
        distance = float(np.hypot(*off))
        off *= min(1.0, _LOST / max(distance, 1e-9))
        size = np.clip(found[2:] / side_before * side, 2.0, 4 * side)
        return np.concatenate([self.truth[:2] + self.truth[2:] / 2 + off * side - size / 2, size])
