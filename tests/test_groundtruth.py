"""The one reader of ground truth, and the one average overlap: by hand, against the toolkit, and in every verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_backend import Crops, FakeBackend, SearchResult
from hypothesis import given
from hypothesis import strategies as st

from mvt_deploy import Track, Tracker, groundtruth
from mvt_deploy.errors import SourceError
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.metrics import figures
from mvt_deploy.evaluation.report import scores_of
from mvt_deploy.evaluation.results import ResultsFolder, SequenceResult
from mvt_deploy.overlap import average_overlap, got10k_overlaps
from mvt_deploy.video.session import Outputs, track_source
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import choose_targets

_BOXES = st.tuples(*[st.floats(-80, 120)] * 2, *[st.floats(0.5, 90)] * 2)


class Still(FakeBackend):
    """A backend whose target stays where it was; what the evaluation then measures is the ground truth's motion."""

    name = "still"

    def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
        box = np.tile(np.array([0.5, 0.5, 0.25, 0.25], np.float32), (features, 1))
        return SearchResult(box, np.full(features, 0.9, np.float32))


@given(st.lists(st.tuples(_BOXES, _BOXES, st.integers(40, 100), st.integers(30, 90)), min_size=2, max_size=6))
def test_overlaps_are_the_toolkits_in_frames_of_every_size(rows: list[tuple[Any, ...]]) -> None:
    toolkit = pytest.importorskip("got10k.utils.metrics")
    found, truth = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    sizes = np.array([row[2:] for row in rows])
    theirs = [
        toolkit.rect_iou(f[None].copy(), t[None].copy(), bound=tuple(s))[0]
        for f, t, s in zip(found[1:], truth[1:], sizes[1:], strict=True)
    ]
    assert got10k_overlaps(found, truth, sizes) == pytest.approx(theirs, abs=1e-6)
    assert average_overlap(found, truth, sizes) == pytest.approx(float(np.mean(theirs)), abs=1e-6)


@pytest.mark.parametrize("flags", [None, "cover.label"])
def test_track_and_eval_say_the_same_ao_of_a_target_that_leaves(tmp_path: Path, flags: str | None) -> None:
    folder = tmp_path / "clip"
    (folder / "img").mkdir(parents=True)
    for i in range(6):
        assert cv2.imwrite(str(folder / "img" / f"{i + 1:08d}.png"), np.zeros((120, 160, 3), np.uint8))
    truth = [(x, 40, 40, 40) for x in (-10, -10, -14, -20, -30, -35)]  # leaves by the left edge
    (folder / "groundtruth.txt").write_text("".join(f"{x},{y},{w},{h}\n" for x, y, w, h in truth))
    if flags:
        (folder / flags).write_text("8\n8\n8\n0\n8\n8\n")
    source = open_source(folder / "img")
    summary = track_source(source, choose_targets(source), Tracker(Still(), lost=None), Outputs())
    tracker, boxes = Tracker(Still(), lost=None), np.array(truth, float)
    sequence = open_source(folder / "img")
    for frame in sequence:
        if frame.index == 0:
            tracker.init(frame.image, truth[0])
            continue
        track = tracker.update(frame.image)
        assert isinstance(track, Track)
        boxes[frame.index] = track.box.as_tuple()
    run = ResultsFolder(tmp_path / "run")
    # GOT-10k's layout carries the flags, a plain folder has none
    dataset = open_dataset(_as_got10k(tmp_path / "got", folder) if flags else folder)
    run.write(dataset.sequences[0], SequenceResult(boxes, np.ones(6), np.ones(6)))
    evaluated = figures(scores_of(dataset, run))["ao"]
    assert 0 < evaluated < 1
    assert summary.ao == pytest.approx(evaluated, abs=1e-5)  # result files hold three decimals of a pixel


def _as_got10k(root: Path, clip: Path) -> Path:
    """The clip as the only sequence of a GOT-10k validation split."""
    place = root / "val" / "GOT-10k_Val_000001"
    place.mkdir(parents=True)
    for path in (*(clip / "img").iterdir(), clip / "groundtruth.txt", clip / "cover.label"):
        (place / path.name).write_bytes(path.read_bytes())
    (root / "val" / "list.txt").write_text("GOT-10k_Val_000001\n")
    return root


def test_flags_beside_the_boxes_hide_the_target(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_text("1,2,30,40\n2,2,30,40\n3,2,30,40\n4,2,30,40\n")
    assert not np.isnan(groundtruth.read(path)).any()
    (tmp_path / "full_occlusion.txt").write_text("0,1,0,0\n")
    (tmp_path / "out_of_view.txt").write_text("0,0,0,1\n")
    assert np.isnan(groundtruth.read(path)).all(axis=1).tolist() == [False, True, False, True]
    (tmp_path / "out_of_view.txt").write_text("0,0,0\n")
    with pytest.raises(SourceError, match="has 3 labels for 4 boxes"):
        groundtruth.read(path)


def test_lines_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_text("1;2\t30, 40,\n10,20,30,22,28,40,8,38\nm5,6,4,3,5,2,2,2,1\nnan,nan,nan,nan\n1,2,0,4\n0\n")
    found = groundtruth.read(path)
    assert found[:3].tolist() == [[1, 2, 30, 40], [8, 20, 22, 20], [6, 7, 2, 2]]
    assert np.isnan(found[3:]).all()


@pytest.mark.parametrize(
    "line", ["1,2,3", "m1,2,1e300,4,5", "m0,0,2,2,9,9", "m1,nan,3,4,5", "a,b,c,d", "m0,0,4,4,-1,2"]
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_text(f"1,2,3,4\n{line}\n")
    with pytest.raises(SourceError, match=r"line 2 of .* is no box"):
        groundtruth.read(path)
