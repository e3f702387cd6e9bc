"""Trajectories of two backends over the same clips, and the verdict on the candidate's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...backends.base import Backend, Features
from ...bundle import ClipOverlap, Gate, SearchSize
from ...errors import NonFiniteError, UserError
from ...geometry import Box, crop, crop_window, iou, map_back
from ...geometry import clip as clip_box
from ...groundtruth import Boxes
from ...overlap import got10k_overlaps
from ...progress import SILENT, Progress
from ...tracker import SearchPolicy, Tracker, motion_between
from ..bootstrap import Difference, compare_runs
from ..metrics import Floats, SequenceScore
from ..runner import Advance
from .clips import GateClip
from .limits import limit_for

_UNCHANGED = 5e-5
"""Change of AO that four decimals show as zero."""


def _ignore(_frames: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A backend's output over one clip.

    Args:
        boxes: float64 ``[n, 4]``, ``x, y, w, h`` in pixels; the first one was given.
        scores: float64 ``[n]`` in 0..1; 1 in the first frame.
        finite: bool ``[n]``; False where the network returned a value that is not finite.
        size: Width and height of the frames in pixels.
    """

    boxes: Boxes
    scores: Floats
    finite: npt.NDArray[np.bool_]
    size: tuple[int, int]


def track_clip(backend: Backend, clip: GateClip, advance: Advance = _ignore) -> Trajectory:
    """Track a clip from its first frame to its last, as published: no policy for lost targets, no reset.

    A frame whose output is not finite keeps the box before it and is marked; tracking goes on.

    Args:
        backend: Runs the network.
        clip: What to track.
        advance: Called after every frame.

    Raises:
        UserError: The tracker refuses a frame or the box; the message names the clip.
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
                boxes[i], scores[i] = tuple(track.box), track.score
        except NonFiniteError:
            finite[i], boxes[i], scores[i] = False, boxes[i - 1], 0.0
        except UserError as error:
            raise UserError(f"clip {clip.name}, frame {i}: {error}") from error
        advance(1)
    return Trajectory(boxes, scores, finite, size)


def replay_windows(backend: Backend, clip: GateClip, path: Trajectory, advance: Advance = _ignore) -> Trajectory:
    """Run a backend in every search window that another backend's trajectory cut.

    Trajectories part by themselves: windows lie on whole pixels, so a box that is off by a thousandth of a pixel now
    and then shifts a window, and from there on the trajectory is another one, neither worse nor better. In the same
    windows the backend's own error is all that differs.

    A backend of another search size looks at a window of its own size around the same place. One of several sides looks
    as far as the tracker would by its :class:`~mvt_deploy.tracker.SearchPolicy`, from the score the backend gave in the
    frame before and from the motion along the other trajectory.

    Args:
        backend: Runs the network.
        clip: The clip that was tracked.
        path: The other backend's trajectory over it.
        advance: Called after every frame.

    Returns:
        The backend's boxes and scores, each in the window around the other trajectory's box of the frame before.
    """
    spec, sides, policy = backend.spec, backend.search_sizes, SearchPolicy()
    boxes, scores, finite = path.boxes.copy(), path.scores.copy(), np.ones(clip.count, bool)
    motion = math.inf  # in the first frame nobody knows
    features: Features = None
    for i, frame in enumerate(clip.frames()):
        last = Box(*path.boxes[max(i - 1, 0)].tolist())
        if i == 0:
            features = backend.template(crop(frame, crop_window(last, spec.template_factor), spec.template_size)[None])
        else:
            side = policy.side(sides, spec.search_size, float(scores[i - 1]), motion, lost=False)
            window = crop_window(last, spec.at(side).search_factor)
            motion = motion_between(last, Box(*path.boxes[i].tolist()))
            try:
                found = backend.search(crop(frame, window, side)[None], features)
                box = clip_box(map_back(found.box[0], last, window.side), *path.size)
                boxes[i], scores[i] = tuple(box), found.score[0]
            except NonFiniteError:
                finite[i] = False
        advance(1)
    return Trajectory(boxes, scores, finite, path.size)


def run_gate(
    reference: Backend,
    candidate: Backend,
    clips: Sequence[GateClip],
    limit: float | None = None,
    *,
    precision: str,
    search_size: SearchSize = None,
    progress: Progress = SILENT,
) -> Gate:
    """Judge a candidate against a reference over clips.

    Args:
        reference: Backend that runs the fp32 graphs.
        candidate: Backend that is judged.
        clips: Clips of at least two frames each.
        limit: Largest drop of AO that passes, 0..1; None takes that of :func:`limit_for`.
        precision: The candidate's precision.
        search_size: Side of the candidate's search crops, if it is not the default: a number of pixels, or ``"auto"``.
        progress: Receives the frames tracked: three times the clips' frames in all.

    Raises:
        UserError: There is no clip to compare on, or one cannot be tracked.
    """
    with progress.task("frames", 3 * sum(clip.count for clip in clips)) as frames:
        tracked = [track_clip(reference, clip, frames.advance) for clip in clips]
        own, replayed = run_candidate(candidate, clips, tracked, frames.advance)
    return judge(
        reference.label,
        tracked,
        candidate.label,
        own,
        replayed,
        clips,
        precision,
        limit=limit,
        search_size=search_size,
    )


def run_candidate(
    candidate: Backend, clips: Sequence[GateClip], reference: Sequence[Trajectory], advance: Advance = _ignore
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Run a candidate over clips.

    Args:
        candidate: Backend that is judged.
        clips: The clips.
        reference: The reference's trajectories over the same clips.
        advance: Called after every frame.

    Returns:
        The candidate's own trajectories, and its output in the reference's windows (see :func:`replay_windows`).
    """
    own = [track_clip(candidate, clip, advance) for clip in clips]
    return own, [replay_windows(candidate, clip, path, advance) for clip, path in zip(clips, reference, strict=True)]


def judge(
    reference_label: str,
    reference: Sequence[Trajectory],
    candidate_label: str,
    candidate: Sequence[Trajectory],
    replayed: Sequence[Trajectory],
    clips: Sequence[GateClip],
    precision: str,
    target: str = "portable",
    limit: float | None = None,
    search_size: SearchSize = None,
) -> Gate:
    """Decide over trajectories of the same clips.

    The candidate passes if every output is finite, AO in the reference's own windows drops by no more than the limit,
    and AO of the candidate's own trajectories drops by no more than the limit either, or is not shown (95 %, paired
    bootstrap over clips) to drop by more.

    Where a clip has no ground truth but its first box, the reference's trajectory takes its place. The drop is then
    the largest that any ground truth could show: 1 - IoU is a metric, so two boxes' overlaps with a third differ by
    at most 1 - their own IoU.

    Args:
        reference_label: Label of the reference.
        reference: The reference's trajectories.
        candidate_label: Label of the candidate.
        candidate: The candidate's own trajectories.
        replayed: The candidate's output in the reference's windows.
        clips: The clips, in the order of the trajectories.
        precision: The candidate's precision.
        target: Target of the candidate's search graph (a :class:`~mvt_deploy.bundle.GraphInfo`'s).
        limit: Largest drop of AO that passes, 0..1; None takes that of :func:`limit_for`.
        search_size: Side of the candidate's search crops, if it is not the default: a number of pixels, or ``"auto"``.

    Raises:
        UserError: There is no clip, or one of fewer than two frames.
    """
    if not clips or min(clip.count for clip in clips) < 2:
        raise UserError("trajectories are compared over clips of at least two frames: give a folder of such clips.")
    limit = limit_for(precision, search_size) if limit is None else limit
    truths = [c.truth if len(c.truth) == c.count else r.boxes for c, r in zip(clips, reference, strict=True)]
    reference_scores = _scores(clips, reference, truths)
    ao = compare_runs(reference_scores, _scores(clips, candidate, truths))[0]
    same = compare_runs(reference_scores, _scores(clips, replayed, truths))[0]
    overlaps = [iou(c.boxes[1:], r.boxes[1:]) for c, r in zip(candidate, reference, strict=True)]
    worst = min(range(len(clips)), key=lambda i: float(overlaps[i].mean()))
    drift = np.abs(_joined(c.scores[1:] for c in candidate) - _joined(r.scores[1:] for r in reference))
    nonfinite = int(sum((~t.finite).sum() for t in (*candidate, *replayed)))
    passed, reason = _verdict(ao, same.difference, limit, nonfinite)
    return Gate(
        reference=reference_label,
        candidate=candidate_label if search_size is None else f"{candidate_label}, search size {search_size}",
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
            _joined(iou(a.boxes[1:], r.boxes[1:]) for a, r in zip(replayed, reference, strict=True)).mean()
        ),
        score_drift=float(drift.mean()),
        score_drift_max=float(drift.max()),
        limit=limit,
        passed=passed,
        reason=reason,
        search_size=search_size,
    )


def describe_change(drop: float) -> str:
    """Say in words what a drop of AO is: "AO drops by 0.0013", "AO rises by 0.0013" or "AO stays the same"."""
    if abs(drop) < _UNCHANGED:
        return "AO stays the same"
    return f"AO {'drops' if drop > 0 else 'rises'} by {abs(drop):.4f}"


def _verdict(ao: Difference, same: float, limit: float, nonfinite: int) -> tuple[bool, str]:
    drop = ao.difference
    if nonfinite:
        return False, f"{nonfinite} frames have outputs that are not finite"
    if same > limit:
        return False, f"AO drops by {same:.4f} in the same windows, more than the limit {limit:g}"
    if drop <= limit:
        return True, f"{describe_change(drop)}, within the limit {limit:g}"
    if ao.low <= limit:  # two paths part by chance where two cells nearly tie: only what is shown to exceed it counts
        return True, (
            f"{describe_change(same)} in the same windows; the drop by {drop:.4f} along the candidate's own path is "
            f"not shown to exceed {limit:g}"
        )
    return False, f"AO drops by {drop:.4f} (at least {ao.low:.4f}), more than the limit {limit:g}"


def _scores(
    clips: Sequence[GateClip], trajectories: Sequence[Trajectory], truths: Sequence[Boxes]
) -> list[SequenceScore]:
    """What the bootstrap needs of every clip: AO's numerator and denominator, by GOT-10k's rule."""
    made = []
    for clip, path, truth in zip(clips, trajectories, truths, strict=True):
        inside = got10k_overlaps(path.boxes, truth, path.size)
        parts = {"ao": (float(inside.sum()), float(len(inside)))}
        made.append(SequenceScore(clip.name, len(inside), parts, {}, inside))
    return made


def _joined(parts: Iterable[Floats]) -> Floats:
    return np.concatenate(list(parts))
