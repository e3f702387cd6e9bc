"""The trajectory gate: a precision passes if its boxes over clips are as good as fp32's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...backends.base import Backend, Features
from ...bundle import ClipOverlap, Gate
from ...errors import NonFiniteError, UserError
from ...geometry import Box, crop, crop_window, iou, map_back
from ...geometry import clip as clip_box
from ...groundtruth import Boxes
from ...overlap import got10k_overlaps
from ...tracker import Tracker
from ..compare import Difference
from ..compare import compare as bootstrap
from ..metrics import Floats, Score
from .clips import Clip

LIMITS = {"fp32": 0.002, "fp16": 0.002, "bf16": 0.01, "int8": 0.01}
"""Largest drop of AO (0..1) against fp32 that passes, by precision."""

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


def answer(backend: Backend, clip: Clip, path: Trajectory, tick: Tick = _quiet) -> Trajectory:
    """What a backend says in every window that another tracker cut on its path.

    Paths part by themselves: windows lie on whole pixels, so a box that is off by a thousandth of a pixel now and then
    shifts a window, and from there on the path is another one, neither worse nor better. In the same windows the
    backend's own error is all that differs.
    """
    spec = backend.spec
    boxes, scores, finite = path.boxes.copy(), path.scores.copy(), np.ones(clip.count, bool)
    features: Features = None
    for i, frame in enumerate(clip.frames()):
        last = Box(*path.boxes[max(i - 1, 0)].tolist())
        if i == 0:
            features = backend.template(crop(frame, crop_window(last, spec.template_factor), spec.template_size)[None])
        else:
            window = crop_window(last, spec.search_factor)
            try:
                found = backend.search(crop(frame, window, spec.search_size)[None], features)
                box = clip_box(map_back(found.box[0], last, window.side), *path.size)
                boxes[i], scores[i] = box.as_tuple(), found.score[0]
            except NonFiniteError:
                finite[i] = False
        tick(1)
    return Trajectory(boxes, scores, finite, path.size)


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
        tick: told of the frames tracked, three times the clips' frames in all.

    Raises:
        UserError: there is no clip to compare on, or one cannot be tracked.
    """
    wanted = [follow(reference, clip, tick) for clip in clips]
    return judge(
        reference.label,
        wanted,
        candidate.label,
        *tracked(candidate, clips, wanted, tick),
        clips,
        precision or candidate.label.split()[-1],
        limit=limit,
    )


def tracked(
    candidate: Backend, clips: Sequence[Clip], wanted: Sequence[Trajectory], tick: Tick = _quiet
) -> tuple[list[Trajectory], list[Trajectory]]:
    """A candidate's own paths, and its answers in the reference's windows."""
    own = [follow(candidate, clip, tick) for clip in clips]
    return own, [answer(candidate, clip, path, tick) for clip, path in zip(clips, wanted, strict=True)]


def judge(
    reference: str,
    wanted: Sequence[Trajectory],
    candidate: str,
    found: Sequence[Trajectory],
    answers: Sequence[Trajectory],
    clips: Sequence[Clip],
    precision: str,
    target: str = "portable",
    limit: float | None = None,
) -> Gate:
    """The verdict over trajectories of the same clips: see :func:`compare`.

    It passes if every output is finite, AO in the reference's own windows drops by no more than the limit, and AO of
    the candidate's own paths drops by no more than the limit either, or is not shown (95 %) to drop by more.

    Where a clip has no ground truth but its first box, the reference's trajectory takes its place. The drop is then
    the largest that any ground truth could show: 1 - IoU is a metric, so two boxes' overlaps with a third differ by
    at most 1 - their own IoU.
    """
    if not clips or min(clip.count for clip in clips) < 2:
        raise UserError("trajectories are compared over clips of at least two frames: give a folder of such clips.")
    limit = LIMITS[precision] if limit is None else limit
    truths = [c.truth if len(c.truth) == c.count else w.boxes for c, w in zip(clips, wanted, strict=True)]
    reference_scores = _scores(clips, wanted, truths)
    ao = bootstrap(reference_scores, _scores(clips, found, truths))[0]
    same = bootstrap(reference_scores, _scores(clips, answers, truths))[0]
    overlaps = [iou(f.boxes[1:], w.boxes[1:]) for f, w in zip(found, wanted, strict=True)]
    worst = min(range(len(clips)), key=lambda i: float(overlaps[i].mean()))
    drift = np.abs(_joined(f.scores[1:] for f in found) - _joined(w.scores[1:] for w in wanted))
    nonfinite = int(sum((~f.finite).sum() for f in (*found, *answers)))
    passed, reason = _verdict(ao, same.difference, limit, nonfinite)
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
        same_windows_drop=same.difference,
        same_windows_iou=float(
            _joined(iou(a.boxes[1:], w.boxes[1:]) for a, w in zip(answers, wanted, strict=True)).mean()
        ),
        score_drift=float(drift.mean()),
        score_drift_max=float(drift.max()),
        limit=limit,
        passed=passed,
        reason=reason,
    )


def _verdict(ao: Difference, same: float, limit: float, nonfinite: int) -> tuple[bool, str]:
    drop = ao.difference
    if nonfinite:
        return False, f"{nonfinite} frames have outputs that are not finite"
    if same > limit:
        return False, f"AO drops by {same:.4f} in the same windows, more than the limit {limit:g}"
    if drop <= limit:
        return True, f"AO drops by {drop:.4f}, within the limit {limit:g}"
    if ao.low <= limit:  # two paths part by chance where two cells nearly tie: only what is shown to exceed it counts
        return (
            True,
            f"AO drops by {same:.4f} in the same windows; {drop:.4f} of the paths is not shown to exceed {limit:g}",
        )
    return False, f"AO drops by {drop:.4f} (at least {ao.low:.4f}), more than the limit {limit:g}"


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
