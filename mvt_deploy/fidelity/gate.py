"""The trajectory gate: a precision passes if its boxes over clips are as good as fp32's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..backends.base import Backend
from ..bundle import ClipOverlap, Gate
from ..errors import NonFiniteError, UserError
from ..evaluation.compare import Difference
from ..evaluation.compare import compare as bootstrap
from ..evaluation.metrics import Floats, Score, got10k_overlaps
from ..evaluation.sequence import Boxes
from ..geometry import iou
from ..tracker import Tracker
from .clips import Clip

LIMITS = {"fp32": 0.002, "fp16": 0.002, "bf16": 0.01, "int8": 0.01}
"""Largest drop of AO (0..1) against fp32 that passes, by precision."""
CERTAIN = 5
"""A drop above the limit is let pass if its interval holds zero, but never one of this many limits.

Paths part by themselves: crop windows lie on whole pixels, so a box that is off by a thousandth of a pixel now and then
shifts a window, and the path from there on is another one, no worse or better. Over few short clips that alone moves AO
by more than a strict limit.
"""

Tick = Callable[[int], None]
"""Told how many frames were tracked since the last call."""


def _quiet(_frames: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One clip tracked: ``boxes`` float64 ``[n, 4]`` in pixels, ``scores`` ``[n]`` in 0..1 (the first frame's are the
    given box and 1), ``finite`` bool ``[n]``, and the frames' width and height ``size``."""

    boxes: Boxes
    scores: Floats
    finite: npt.NDArray[np.bool_]
    size: tuple[int, int]


def follow(backend: Backend, clip: Clip, tick: Tick = _quiet) -> Trajectory:
    """Track a clip from its first frame to its last, as published: no policy for lost targets, no reset.

    A frame whose output is not finite keeps the box before it and is marked; tracking goes on.

    Raises:
        UserError: the tracker refuses a frame or the box; the message names the clip.
    """
    tracker = Tracker(backend, lost=None)
    boxes, scores, finite = np.tile(clip.truth[0], (clip.count, 1)), np.ones(clip.count), np.ones(clip.count, bool)
    size = (0, 0)
    for i, frame in enumerate(clip.frames()):
        try:
            if i == 0:
                size = (frame.shape[1], frame.shape[0])
                tracker.init(frame, clip.truth[0].tolist())
            else:
                track = tracker.update_all(frame)[0]
                boxes[i], scores[i] = track.box.as_tuple(), track.score
        except NonFiniteError:
            finite[i], boxes[i], scores[i] = False, boxes[i - 1], 0.0
        except UserError as error:
            raise UserError(f"clip {clip.name}, frame {i}: {error}") from error
        tick(1)
    return Trajectory(boxes, scores, finite, size)


def compare(
    reference: Backend,
    candidate: Backend,
    clips: Sequence[Clip],
    limit: float | None = None,
    *,
    precision: str = "",
    tick: Tick = _quiet,
) -> Gate:
    """Judge a candidate against a reference over clips.

    Args:
        reference: runs the fp32 graphs.
        candidate: what is judged.
        clips: of at least two frames each.
        limit: the largest drop of AO that passes; None takes that of the precision from :data:`LIMITS`.
        precision: the candidate's; empty takes the last word of its label.
        tick: told of the frames tracked, twice the clips' frames in all.

    Raises:
        UserError: there is no clip to compare on, or one cannot be tracked.
    """
    return judge(
        reference.label,
        [follow(reference, clip, tick) for clip in clips],
        candidate.label,
        [follow(candidate, clip, tick) for clip in clips],
        clips,
        precision or candidate.label.split()[-1],
        limit=limit,
    )


def judge(
    reference: str,
    wanted: Sequence[Trajectory],
    candidate: str,
    found: Sequence[Trajectory],
    clips: Sequence[Clip],
    precision: str,
    target: str = "portable",
    limit: float | None = None,
) -> Gate:
    """The verdict over trajectories of the same clips: see :func:`compare`.

    Where a clip has no ground truth but its first box, the reference's trajectory takes its place. The drop is then
    the largest that any ground truth could show: 1 - IoU is a metric, so two boxes' overlaps with a third differ by
    at most 1 - their own IoU.
    """
    if not clips or min(clip.count for clip in clips) < 2:
        raise UserError("trajectories are compared over clips of at least two frames: give a folder of such clips.")
    limit = LIMITS[precision] if limit is None else limit
    truths = [c.truth if len(c.truth) == c.count else w.boxes for c, w in zip(clips, wanted, strict=True)]
    ao = bootstrap(_scores(clips, wanted, truths), _scores(clips, found, truths))[0]
    overlaps = [iou(f.boxes[1:], w.boxes[1:]) for f, w in zip(found, wanted, strict=True)]
    worst = min(range(len(clips)), key=lambda i: float(overlaps[i].mean()))
    drift = np.abs(_joined(f.scores[1:] for f in found) - _joined(w.scores[1:] for w in wanted))
    nonfinite = int(sum((~f.finite).sum() for f in found))
    passed, reason = _verdict(ao, limit, nonfinite)
    return Gate(
        reference=reference,
        candidate=candidate,
        precision=precision,
        target=target,
        clips=len(clips),
        frames=len(drift),
        nonfinite=nonfinite,
        mean_iou=float(_joined(overlaps).mean()),
        worst_clip=ClipOverlap(clips[worst].name, float(overlaps[worst].mean())),
        ao_reference=ao.first,
        ao_candidate=ao.second,
        ao_drop=ao.difference,
        ao_drop_low=ao.low,
        ao_drop_high=ao.high,
        score_drift=float(drift.mean()),
        score_drift_max=float(drift.max()),
        limit=limit,
        passed=passed,
        reason=reason,
    )


def _verdict(ao: Difference, limit: float, nonfinite: int) -> tuple[bool, str]:
    drop = ao.difference
    if nonfinite:
        return False, f"{nonfinite} frames have outputs that are not finite"
    if drop <= limit:
        return True, f"AO drops by {drop:.4f}, within the limit {limit:g}"
    if ao.low <= 0 and drop <= CERTAIN * limit:
        return True, f"AO drops by {drop:.4f}, but no drop is shown: its interval is {ao.low:.4f} to {ao.high:.4f}"
    return False, f"AO drops by {drop:.4f}, more than the limit {limit:g}"


def _scores(clips: Sequence[Clip], tracked: Sequence[Trajectory], truths: Sequence[Boxes]) -> list[Score]:
    """What the bootstrap wants of every clip: AO's numerator and denominator, by GOT-10k's rule."""
    made = []
    for clip, path, truth in zip(clips, tracked, truths, strict=True):
        inside = got10k_overlaps(path.boxes, truth, path.size)
        parts = {"ao": (float(inside.sum()), float(len(inside)))}
        made.append(Score(clip.name, len(inside), parts, {}, inside))
    return made


def _joined(parts: Iterable[Floats]) -> Floats:
    return np.concatenate(list(parts))
