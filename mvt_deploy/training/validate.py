"""Measures weights on tracks that were held back: on jittered windows, and chained frame by frame as a tracker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..geometry import BGRImage, Box, crop, crop_window, iou
from ..network import MVT, SEARCH_SIZE, TEMPLATE_SIZE, TemplateFeatures
from ..network.inference import decode, hann_window, prepare
from .images import read
from .tracks import AnnotatedFrame, AnnotatedTrack

Floats = npt.NDArray[np.float64]
LOST_IOU = 0.2
"""A target counts as lost in a frame where the IoU with its true box is below this."""
_SHIFT, _SCALE = 0.5, 0.15  # jittered windows: range of the shift in target sides; deviation of the scale's logarithm
_STEP = 0.15  # standard deviation, in target sides, of the motion drawn between frames cut around their targets
_BATCH = 16
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
    locator = _Locator(model, [track.frames[0] for track in long_enough])
    windows = _windows(locator, long_enough, seed)
    chained = _chained(locator, long_enough, seed)
    ious, scores = (
        np.concatenate([getattr(results, name) for results in chained]) if chained else np.empty(0)
        for name in ("iou", "score")
    )
    names = [track.name for track in long_enough]
    return HeldBack(
        dict(zip(names, (float(results.iou.mean()) for results in windows), strict=True)),
        dict(zip(names, (float(results.iou.mean()) for results in chained), strict=True)),
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


class _Locator:
    """The network with the templates of several targets: finds their boxes in windows around prior boxes, in batches.

    Args:
        model: The network.
        firsts: The frame of each target that gives its template.
    """

    def __init__(self, model: MVT, firsts: Sequence[AnnotatedFrame]) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._hann = hann_window().to(self._device)
        crops = [
            crop(read(first.file, cv2.IMREAD_COLOR), crop_window(Box(*first.box), 2.0), TEMPLATE_SIZE)
            for first in firsts
        ]
        encoded = [model.encode_template(self._input(crops[i : i + _BATCH])) for i in range(0, len(crops), _BATCH)]
        self._templates = [torch.cat(parts) for parts in zip(*encoded, strict=True)]

    def _input(self, crops: Sequence[BGRImage]) -> torch.Tensor:
        images = prepare(torch.from_numpy(np.stack(crops)).to(self._device))
        return images.contiguous(memory_format=torch.channels_last)  # 1.5 times as fast on a CPU

    def __call__(
        self, targets: Sequence[int], frames: Sequence[AnnotatedFrame], priors: Sequence[Floats]
    ) -> tuple[Floats, Floats]:
        """Find targets, each in a window around a prior box ``x, y, w, h`` in pixels.

        Args:
            targets: Indices of the targets.
            frames: A frame for each of them.
            priors: A prior box for each of them.

        Returns:
            Boxes ``[n, 4]`` and scores ``[n]``.
        """
        boxes, scores = np.empty((len(targets), 4)), np.empty(len(targets))
        for start in range(0, len(targets), _BATCH):
            part = slice(start, start + _BATCH)
            windows = [crop_window(Box(*prior.tolist()), 4.0) for prior in priors[part]]
            crops = [
                crop(read(frame.file, cv2.IMREAD_COLOR), window, SEARCH_SIZE)
                for frame, window in zip(frames[part], windows, strict=True)
            ]
            templates = TemplateFeatures(*(values[list(targets[part])] for values in self._templates))
            found = decode(self._model.track(self._input(crops), templates), self._hann)
            sides = np.array([[window.side] for window in windows])
            corners = np.array([[window.x, window.y] for window in windows])
            relative = found.box.cpu().double().numpy() * sides
            boxes[part] = np.hstack([relative[:, :2] - relative[:, 2:] / 2 + corners, relative[:, 2:]])
            scores[part] = found.score.cpu().double().numpy()
        return boxes, scores


def _windows(locator: _Locator, tracks: Sequence[AnnotatedTrack], seed: int) -> list[FrameResults]:
    targets, frames, priors = [], [], []
    for number, track in enumerate(tracks):
        rng = np.random.default_rng([seed, number, 0])
        for frame in track.frames[1:]:
            prior = np.asarray(frame.box, np.float64)
            prior[:2] += rng.uniform(-_SHIFT, _SHIFT, 2) * math.sqrt(frame.box[2] * frame.box[3])
            prior[2:] *= math.exp(_SCALE * rng.standard_normal())
            targets.append(number)
            frames.append(frame)
            priors.append(prior)
    boxes, scores = locator(targets, frames, priors)
    overlaps = iou(boxes, np.array([frame.box for frame in frames]))
    ends = np.cumsum([len(track.frames) - 1 for track in tracks])[:-1]
    return [FrameResults(*parts) for parts in zip(np.split(overlaps, ends), np.split(scores, ends), strict=True)]


def _chained(locator: _Locator, tracks: Sequence[AnnotatedTrack], seed: int) -> list[FrameResults]:
    steps = [list(_priors(track, np.random.default_rng([seed, i, 1]))) for i, track in enumerate(tracks)]
    found = [np.asarray(track.frames[0].box, np.float64) for track in tracks]
    before = list(found)
    results: list[list[tuple[float, float]]] = [[] for _ in tracks]
    for index in range(max(map(len, steps), default=0)):
        targets = [i for i, track_steps in enumerate(steps) if index < len(track_steps)]
        frames = [steps[i][index][0] for i in targets]
        boxes, scores = locator(targets, frames, [steps[i][index][1](found[i], before[i]) for i in targets])
        for i, frame, box, score in zip(targets, frames, boxes, scores, strict=True):
            truth = np.asarray(frame.box, np.float64)
            results[i].append((float(iou(box, truth)), float(score)))
            found[i], before[i] = box, truth
    return [FrameResults(*np.array(pairs).T) for pairs in results]


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
