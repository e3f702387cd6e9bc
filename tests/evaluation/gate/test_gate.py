"""The trajectory gate: by hand, and on the bundle's own graphs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from fake_backend import Crops, FakeBackend, SearchResult
from told import Told
from typer.testing import CliRunner

from mvt_deploy.bundle import Gate, parse
from mvt_deploy.cli.main import app
from mvt_deploy.errors import NonFiniteError, UserError
from mvt_deploy.evaluation.gate.clips import GateClip, rendered
from mvt_deploy.evaluation.gate.judge import Judge
from mvt_deploy.evaluation.gate.limits import AUTO_LIMIT, LIMITS, SIDE_LIMIT, limit_for
from mvt_deploy.evaluation.gate.trajectories import describe_change, judge, replay_windows, run_gate, track_clip


class Still(FakeBackend):
    """A backend that finds the target where it was, ``shift`` of the crop's side to the right of it on one frame."""

    name = "still"

    def __init__(self, shift: float = 0.0, score: float = 0.8, nan_at: int = -1, precision: str = "fp16") -> None:
        super().__init__(precision)
        self._shift, self._score, self._nan_at = shift, score, nan_at
        self._frame = 0

    def _template(self, crops: Crops) -> None:
        self._frame = 0

    def _search(self, crops: Crops, features: None, score_map: bool) -> SearchResult:
        self._frame += 1
        if self._frame == self._nan_at:
            raise NonFiniteError("not finite")
        x = 0.5 + (self._shift if self._frame == 1 else 0)
        return SearchResult(np.array([[x, 0.5, 0.25, 0.25]], np.float32), np.array([self._score], np.float32))


def still(name: str = "a", count: int = 5, labelled: bool = True) -> GateClip:
    truth = np.tile([100.0, 100.0, 80.0, 80.0], (count if labelled else 1, 1))
    return GateClip(name, count, lambda: iter([np.zeros((400, 600, 3), np.uint8)] * count), truth)


def test_equal_trajectories_pass() -> None:
    gate = run_gate(Still(), Still(), [still("a"), still("b")], precision="fp16")
    assert gate.passed
    assert (gate.mean_iou, gate.ao_reference, gate.ao_candidate, gate.ao_drop) == pytest.approx((1, 1, 1, 0))
    assert (gate.clips, gate.frames, gate.nonfinite, gate.limit) == (2, 8, 0, LIMITS["fp16"])


@pytest.mark.parametrize("labelled", [True, False])
def test_figures_by_hand(labelled: bool) -> None:
    # An 80-pixel box in a 320-pixel window: 1/16 of the crop is 20 pixels, an IoU of 60 / 100 on every later frame.
    gate = run_gate(Still(), Still(1 / 16, score=0.7), [still(labelled=labelled)], precision="fp16")
    assert not gate.passed
    assert (gate.mean_iou, gate.ao_drop, gate.worst_clip.iou) == pytest.approx((0.6, 0.4, 0.6), abs=1e-6)
    assert (gate.score_drift, gate.score_drift_max) == pytest.approx((0.1, 0.1), abs=1e-6)
    assert "0.1000 in the same windows" in gate.reason
    assert (gate.same_windows_drop, gate.same_windows_iou) == pytest.approx((0.1, 0.9), abs=1e-6)
    assert run_gate(Still(), Still(1 / 16), [still(labelled=labelled)], limit=0.5, precision="fp16").passed


def test_the_worst_clip_is_named_and_the_interval_spans_the_clips() -> None:
    clips = [still("good"), still("bad")]
    reference = [track_clip(Still(), clip) for clip in clips]
    candidate = [track_clip(Still(), clips[0]), track_clip(Still(1 / 16), clips[1])]
    gate = judge("r", reference, "c", candidate, candidate, clips, "int8")
    assert gate.worst_clip.name == "bad"
    assert (gate.ao_drop, gate.ao_drop_low, gate.ao_drop_high) == pytest.approx((0.2, 0.0, 0.4), abs=1e-6)
    assert gate.limit == LIMITS["int8"]


def test_a_drop_of_the_paths_that_is_not_shown_passes_if_the_same_windows_show_none() -> None:
    # The candidate is off in one clip of two; in the other it is right where the reference is off by almost as much.
    clips = [still("a"), still("b")]
    reference = [track_clip(Still(), clips[0]), track_clip(Still(1 / 16), clips[1])]
    candidate = [track_clip(Still(1 / 15), clips[0]), track_clip(Still(), clips[1])]
    gate = judge("r", reference, "c", candidate, reference, clips, "fp16")
    assert gate.ao_drop > LIMITS["fp16"]
    assert gate.ao_drop_low < 0 < gate.ao_drop_high
    assert gate.same_windows_drop == 0
    assert gate.passed
    refused = judge("r", reference, "c", reference, candidate, clips, "fp16")
    assert (refused.ao_drop, refused.same_windows_drop) == (0, gate.ao_drop)
    assert not refused.passed
    assert "same windows" in refused.reason


def test_answers_in_the_same_windows() -> None:
    # The box is moved in the first window only; asked in the reference's windows, it does not stay moved.
    path = track_clip(Still(), still())
    answers = replay_windows(Still(1 / 16, score=0.7), still(), path)
    assert answers.boxes[:, 0] == pytest.approx([100, 120, 100, 100, 100])
    assert answers.scores[1:] == pytest.approx([0.7] * 4)
    again = replay_windows(Still(nan_at=2), still(), path)
    assert again.finite.tolist() == [True, True, False, True, True]


class Sided(Still):
    """A backend of three sides; its box is off by a pixel at the smallest, and it remembers the sides it was given."""

    sides: ClassVar[tuple[int, ...]] = (192, 256, 320)

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self._scores, self.given = list(scores), list[int]()

    def _search(self, crops: Crops, features: None, score_map: bool) -> SearchResult:
        side = crops.shape[1]
        x, width = 0.5 + (side == 192) / side, 64 / side
        found = np.array([[x, 0.5, width, width]], np.float32)
        self.given.append(side)
        return SearchResult(found, np.array([self._scores[len(self.given) - 1]], np.float32))


def test_every_side_that_the_tracker_would_choose_is_asked_in_the_same_windows() -> None:
    # 80 pixels of the frame are 64 of the crop, so a pixel of the crop is 1.25 of the frame.
    candidate = Sided([0.8, 0.8, 0.3, 0.1])
    answers = replay_windows(candidate, still(), track_clip(Still(), still()))
    assert candidate.given == [256, 192, 192, 256]  # nobody knows the first motion; then by the score before
    assert answers.boxes[:, 0] == pytest.approx([100, 100, 101.25, 101.25, 100])
    candidate = Sided([0.1] * 4)
    replay_windows(candidate, still(), track_clip(Still(), still()))
    assert candidate.given == [256, 320, 320, 320]
    path = track_clip(Still(), still())
    path.boxes[:, 0] += 50 * (np.arange(5) % 2)  # the reference's motion counts: 0.625 of the target's side per frame
    candidate = Sided([0.8] * 4)
    replay_windows(candidate, still(), path)
    assert candidate.given == [256] * 4


def test_a_frame_that_is_not_finite_fails_whatever_the_boxes() -> None:
    gate = run_gate(Still(), Still(nan_at=3), [still()], precision="fp16")
    assert (gate.passed, gate.nonfinite) == (False, 2)  # on its own path, and in the reference's windows
    assert "not finite" in gate.reason
    assert gate.mean_iou == pytest.approx(1)  # the box before is kept


def test_absent_targets_do_not_count() -> None:
    clip = still()
    clip.truth[3:] = np.nan
    assert run_gate(Still(), Still(1 / 16), [clip], precision="fp16").ao_drop == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize(
    ("drop", "words"),
    [(0.0013, "AO drops by 0.0013"), (-0.0013, "AO rises by 0.0013"), (0.0, "AO stays the same"), (-4e-5, "the same")],
)
def test_a_change_of_ao_is_said_in_words(drop: float, words: str) -> None:
    assert words in describe_change(drop)


def test_a_candidate_that_does_better_is_not_said_to_drop() -> None:
    gate = run_gate(Still(1 / 16), Still(), [still()], precision="fp16")  # here the candidate is the better one
    assert gate.ao_drop == pytest.approx(-0.4, abs=1e-6)
    assert gate.passed
    assert gate.reason == "AO rises by 0.4000, within the limit 0.002"


def test_limits_by_precision_and_side() -> None:
    assert limit_for("fp16") == LIMITS["fp16"]
    assert (limit_for("fp32", 192), limit_for("fp32", "auto")) == (SIDE_LIMIT, AUTO_LIMIT)
    assert limit_for("int8", 192) == max(LIMITS["int8"], SIDE_LIMIT)
    assert limit_for("int8", "auto") == max(LIMITS["int8"], AUTO_LIMIT)


@pytest.mark.slow
def test_a_search_size_is_judged_like_a_precision(tmp_path: Path) -> None:
    """On graphs of a few kilobytes, whose box follows the colours of the crop: another side gives another box."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))
    from tiny import tiny_bundle

    place = tiny_bundle(tmp_path / "tiny", sides=(192, 256))
    judge = Judge(rendered(4))
    same, other = judge(place, "fp32", "portable", 256), judge(place, "fp32", "portable", 192)
    assert (same.ao_drop, same.mean_iou, same.passed) == (0, 1, True)
    assert (other.search_size, other.limit) == (192, SIDE_LIMIT)
    assert other.candidate.endswith(", search size 192")
    assert other.mean_iou < 1
    with pytest.raises(UserError, match="no fp32 search graph of side 224, only of 192 and 256"):
        judge(place, "fp32", "portable", 224)
    call = ["gate", "--model", str(place), "--frames", "3", "--json"]
    done = CliRunner().invoke(app, [*call, "--search-size", "192", "--limit", "1"])
    assert done.exit_code == 0
    gate = parse(Gate, json.loads(done.stdout), "gate")
    assert (gate.precision, gate.search_size, gate.passed) == ("fp32", 192, True)
    usual = parse(Gate, json.loads(CliRunner().invoke(app, [*call, "--search-size", "256"]).stdout), "gate")
    assert (usual.search_size, usual.ao_drop) == (None, 0)
    with pytest.raises(UserError, match="not 'wide'"):
        CliRunner().invoke(app, [*call, "--search-size", "wide"], catch_exceptions=False)


def test_nothing_to_compare_on() -> None:
    with pytest.raises(UserError, match="two frames"):
        run_gate(Still(), Still(), [], precision="fp16")
    with pytest.raises(UserError, match="clip a, frame 0"):
        track_clip(Still(), GateClip("a", 2, lambda: iter([np.zeros((9, 9))] * 2), np.ones((2, 4))))  # type: ignore[list-item]


def test_a_verdict_survives_the_manifest() -> None:
    gate = run_gate(Still(), Still(1 / 16), [still()], precision="fp16")
    assert parse(Gate, json.loads(json.dumps(asdict(gate))), "gate") == gate


def test_rendered_clips_show_their_targets_and_never_change() -> None:
    clips = rendered(4)
    again = rendered(4)
    for clip, same in zip(clips, again, strict=True):
        frames = list(clip.frames())
        assert len(frames) == len(clip.truth) == clip.count == 4
        assert all(np.array_equal(a, b) for a, b in zip(frames, same.frames(), strict=True))
        height, width = frames[0].shape[:2]
        centres = clip.truth[:, :2] + clip.truth[:, 2:] / 2
        assert ((centres > 0) & (centres < (width, height))).all()
        assert (np.diff(centres, axis=0) ** 2).sum() > 1  # the camera moves


def test_truth_of_rendered_clips_follows_the_picture() -> None:
    # The patch around the target, cut by the truth of two frames, is the same patch.
    import cv2

    for clip in rendered(4):
        first, *_, last = [
            cv2.resize(f[max(int(y), 0) : int(y + h), max(int(x), 0) : int(x + w)], (48, 48)).astype(float).ravel()
            for f, (x, y, w, h) in zip(clip.frames(), clip.truth, strict=True)
            if x > 0 and y > 0
        ]
        assert np.corrcoef(first, last)[0, 1] > 0.8, clip.name


@pytest.mark.slow
def test_fp16_follows_the_path_of_fp32(bundle: Path) -> None:
    counted = Told()
    judge = Judge(rendered(9), progress=counted)
    gate = judge(bundle, "fp16", "portable")
    assert gate.passed
    assert gate.mean_iou > 0.97
    assert gate.same_windows_iou > 0.998
    assert abs(gate.same_windows_drop) < 5e-4
    assert gate.score_drift < 0.01  # on average: a crop one pixel off shifts single scores by more
    assert (gate.reference, gate.candidate, gate.limit) == ("ort cpu fp32", "ort cpu fp16", LIMITS["fp16"])
    assert counted.steps == 3 * 9 * len(judge.clips)
    assert judge(bundle, "fp16", "portable") == gate
    assert counted.steps == 5 * 9 * len(judge.clips)  # fp32 was tracked once


@pytest.mark.slow
def test_the_verb_and_its_exit_code(bundle: Path) -> None:
    call = ["gate", "--model", str(bundle), "--precision", "fp16", "--frames", "3", "--json"]
    passed = CliRunner().invoke(app, [*call, "--max-ao-drop", "0.5"])
    assert passed.exit_code == 0
    gate = parse(Gate, json.loads(passed.stdout), "gate")
    assert gate.passed
    assert 0.9 < gate.mean_iou < 1
    assert gate.ao_reference > 0.5
    assert CliRunner().invoke(app, [*call, "--limit", "-1"]).exit_code == 1, "the old name is still read"
