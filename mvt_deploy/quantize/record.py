"""Records calibration pairs: runs the tracker over clips and keeps crops that it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..backends.base import Backend
from ..errors import CalibrationError
from ..geometry import BGRImage, Box, crop, crop_window
from ..progress import SILENT, Progress
from ..tracker import Tracker
from ..video.sources import Source
from .calibration_set import Recording

PAIRS = 64
"""Default number of pairs of a set."""
_CONSIDERED = 240  # frames per clip, at most twice as many, that pairs are chosen from
_LOST = 0.2  # lower scores usually mean a lost target
_SHARES = {"hard": 0.25, "jitter": 0.25}  # shares of a clip's pairs; the other pairs lie evenly along the path


@dataclass(frozen=True, slots=True)
class ClipTarget:
    """A clip and the box of its target in the first frame."""

    source: Source
    box: Box


@dataclass(frozen=True, slots=True)
class _Seen:
    frame: int
    crop: BGRImage
    score: float
    jittered: BGRImage


def record(
    model: Backend,
    targets: Sequence[ClipTarget],
    pairs: int = PAIRS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Recording]:
    """Track every clip and choose pairs along its path.

    Half of a clip's pairs lie evenly along the path. A quarter are the frames with the lowest scores. A quarter are cut
    from displaced and rescaled windows, like those of a tracker that is slightly wrong.

    Args:
        model: The network in fp32.
        targets: Clips and their first boxes.
        pairs: Total number of pairs, shared evenly by the clips.
        seed: Seed of the random displacement and scale of the windows.
        progress: Receives a task per clip, with one step per frame.

    Raises:
        CalibrationError: A clip is too short, or its target was lost for most of it.
        SourceError: A frame cannot be decoded.
    """
    random = np.random.default_rng(seed)
    made: list[Recording] = []
    for number, target in enumerate(targets):
        count = pairs * (number + 1) // len(targets) - pairs * number // len(targets)
        made += _record_clip(model, target, count, random, progress)
    return made


def _record_clip(
    model: Backend, target: ClipTarget, count: int, random: np.random.Generator, progress: Progress
) -> list[Recording]:
    source = target.source
    step = max(1, (source.count or 0) // _CONSIDERED)
    tracker = Tracker(model, lost=None)
    template: BGRImage | None = None
    seen: list[_Seen] = []
    scores: list[float] = []
    with progress.task(source.name, source.count) as task:
        for frame in source:
            task.advance()
            if template is None:
                spec = model.spec
                tracker.init(frame.image, target.box)
                template = crop(frame.image, crop_window(target.box, spec.template_factor), spec.template_size)
                continue
            crops = tracker.cut(frame.image)
            found = tracker.locate(crops)
            own = crops[0][0].copy()
            height, width = frame.image.shape[:2]
            track = tracker.place(found, width, height)[0]
            scores.append(track.score)
            if frame.index % step == 0 and len(seen) < 2 * _CONSIDERED:
                jittered = crop(
                    frame.image,
                    crop_window(_jitter(track.box, random), model.spec.search_factor),
                    model.spec.search_size,
                )
                seen.append(_Seen(frame.index, own, track.score, jittered))
    if template is None or not seen:
        raise CalibrationError(f"'{source.name}' is too short to calibrate on: give a clip of several frames.")
    if float(np.median(scores)) < _LOST:
        raise CalibrationError(
            f"the tracker lost the target of '{source.name}' for most of it, so its crops show no tracking: "
            "give another box (--init-box) or another clip."
        )
    return [
        Recording(template, one.jittered if kind == "jitter" else one.crop, source.name, one.frame, kind, one.score)
        for kind, one in _choose(seen, count)
    ]


def _choose(seen: Sequence[_Seen], count: int) -> list[tuple[str, _Seen]]:
    hard = int(count * _SHARES["hard"])
    jitter = int(count * _SHARES["jitter"])
    lowest = sorted(sorted(seen, key=lambda one: one.score)[:hard], key=lambda one: one.frame)
    others = [one for one in seen if one not in lowest] or list(seen)
    chosen = [("path", one) for one in _evenly(others, count - hard - jitter)]
    return chosen + [("hard", one) for one in lowest] + [("jitter", one) for one in _evenly(seen, jitter)]


def _evenly(seen: Sequence[_Seen], count: int) -> list[_Seen]:
    return [seen[i] for i in sorted({round(float(place)) for place in np.linspace(0, len(seen) - 1, count)})]


def _jitter(box: Box, random: np.random.Generator) -> Box:
    """The box moved by up to 0.75 of its side and rescaled by about 25 %: half the jitter of the published training."""
    side = float(np.sqrt(box.w * box.h))
    dx, dy = (float(v) for v in random.uniform(-0.75, 0.75, 2) * side)
    scale = float(np.exp(random.normal(0, 0.25)))
    w, h = max(box.w * scale, 2.0), max(box.h * scale, 2.0)
    return Box(box.x + dx + (box.w - w) / 2, box.y + dy + (box.h - h) / 2, w, h)
