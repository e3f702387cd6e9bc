"""Where targets come from, ground truth, and the search for what moves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mvt_deploy import groundtruth
from mvt_deploy.errors import BoxError, SourceError
from mvt_deploy.geometry import Box, iou
from mvt_deploy.overlap import average_overlap
from mvt_deploy.video import demo
from mvt_deploy.video.appearance import fit_to_appearance
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import choose_targets, write_grid


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.render(tmp_path_factory.mktemp("demo") / "clip.avi")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "seq"
    (place / "img").mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(place / "img" / f"{i}.png"), np.zeros((80, 100, 3), np.uint8))
    return place


@pytest.mark.slow
def test_ground_truth_beside_a_video(clip: Path) -> None:
    targets = choose_targets(open_source(clip))
    assert targets.how == "from clip.txt"
    assert targets.truth is not None
    assert len(targets.truth) == 240
    assert targets.boxes[0].as_tuple() == pytest.approx(targets.truth[0])


@pytest.mark.parametrize("place", ["seq", "seq/img", "seq/img/*.png"])
def test_ground_truth_of_a_folder(folder: Path, place: str) -> None:
    (folder / "groundtruth.txt").write_text("1,2,30,40\n1\t2\t30\t40\nnan,nan,nan,nan\n")
    targets = choose_targets(open_source(folder.parent / place))
    assert targets.boxes == [Box(1, 2, 30, 40)]
    assert targets.truth is not None
    assert np.isnan(targets.truth[2]).all()


def test_given_boxes_come_first(folder: Path) -> None:
    (folder / "groundtruth.txt").write_text("1,2,30,40\n" * 3)
    targets = choose_targets(open_source(folder), ["5, 6, 7, 8", "9,9,9,9"])
    assert targets.boxes == [Box(5, 6, 7, 8), Box(9, 9, 9, 9)]
    assert targets.truth is None  # it speaks of another target
    assert choose_targets(open_source(folder), ["1,2,30,40"]).truth is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "four"),
        ("a,b,c,d", "four numbers"),
        ("", "four"),
        ("1,2,0,4", "no size"),
        ("200,2,3,4", "outside"),
        ("0.3,0.2,0.4,0.4", "not fractions"),
    ],
)
def test_bad_boxes(folder: Path, text: str, message: str) -> None:
    with pytest.raises(BoxError, match=message):
        choose_targets(open_source(folder), [text])


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("1,2,3\n", "line 1"), ("1,2,3,4\nx\n", "line 2")])
def test_bad_ground_truth(folder: Path, text: str, message: str) -> None:
    (folder / "groundtruth.txt").write_text(text)
    with pytest.raises(SourceError, match=message):
        choose_targets(open_source(folder))


def test_notes_with_the_name_of_ground_truth_do_no_harm_to_given_boxes(folder: Path) -> None:
    (folder / "groundtruth.txt").write_text("filmed on a Sunday\n")
    targets = choose_targets(open_source(folder), ["1,2,30,40"])
    assert targets.boxes == [Box(1, 2, 30, 40)]
    assert targets.truth is None


def test_polygons_become_boxes(tmp_path: Path) -> None:
    (tmp_path / "groundtruth.txt").write_text("10,20,30,15,35,40,12,45\n")
    assert groundtruth.read(tmp_path / "groundtruth.txt").tolist() == [[10, 15, 25, 30]]


@pytest.mark.slow
def test_what_moves_is_found_before_a_moving_camera(clip: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.avi"
    alone.write_bytes(clip.read_bytes())
    with pytest.raises(BoxError, match=r"--init-box x,y,w,h .*--show-grid.*--select.*--auto"):
        choose_targets(open_source(alone))
    targets = choose_targets(open_source(alone), auto=True)
    assert "--init-box" in targets.how
    _, truth = next(demo.frames(1))
    assert iou(targets.boxes[0].as_tuple(), truth.as_tuple()) > 0.5


def test_nothing_moves(folder: Path) -> None:
    with pytest.raises(BoxError, match="nothing moves"):
        choose_targets(open_source(folder), auto=True)


def test_demo_is_the_same_every_time_and_its_truth_is_tight() -> None:
    first = [(image.copy(), box) for image, box in demo.frames(5)]
    second = list(demo.frames(5))
    for (a, box_a), (b, box_b) in zip(first, second, strict=True):
        assert np.array_equal(a, b)
        assert box_a == box_b
    image, box = first[0]
    red = (image[..., 2].astype(int) - image[..., 1] > 60) & (image[..., 0] < 90)
    near = red[int(box.y) : int(box.y + box.h), int(box.x) - 40 : int(box.x + box.w) + 40]
    columns = np.flatnonzero(near.sum(0) > 15) + int(box.x) - 40
    assert abs(columns[0] - box.x) < 5
    assert abs(columns[-1] - (box.x + box.w)) < 5


def test_ao_by_hand() -> None:
    boxes = [Box(0, 0, 10, 10), Box(0, 0, 10, 10), Box(5, 0, 10, 10), Box(0, 0, 10, 10)]
    truth = np.array([[9, 9, 1, 1], [0, 0, 10, 10], [0, 0, 10, 10], [np.nan] * 4])
    found = np.array([box.as_tuple() for box in boxes])
    assert average_overlap(found, truth, [(100, 100)] * 4) == pytest.approx((1 + 1 / 3) / 2)
    assert average_overlap(found[:1], truth[:1], [(100, 100)]) is None


def test_a_grid_to_read_boxes_from(folder: Path, tmp_path: Path) -> None:
    path = write_grid(open_source(folder), tmp_path / "seq.grid.png")
    assert np.asarray(cv2.imread(str(path))).shape == (640, 800, 3)


def test_a_box_too_large_is_fitted_to_what_stands_out_in_it() -> None:
    random = np.random.default_rng(0)
    image = np.asarray(random.integers(60, 90, (240, 320, 3)), np.uint8)
    image[80:160, 120:200] = random.integers(150, 220, (80, 80, 3)) * np.array([0.2, 0.4, 1.0])
    truth, rough = Box(120, 80, 80, 80), Box(100, 60, 130, 120)
    assert iou(rough, truth) < 0.5
    assert iou(fit_to_appearance(image, rough), truth) > 0.9
    plain = np.full((240, 320, 3), 90, np.uint8)
    assert iou(fit_to_appearance(plain, rough), rough) > 0.5  # nothing stands out: still a box around there
