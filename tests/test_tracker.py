"""The tracker: its lost policy by hand, and real clips through real backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from fake_backend import Crops, FakeBackend, SearchResult

from mvt_deploy import LostPolicy, Tracker, load
from mvt_deploy.errors import BoxError, NonFiniteError, SourceError, UserError
from mvt_deploy.geometry import Box, iou
from mvt_deploy.tracker import SearchPolicy
from mvt_deploy.video import demo

FRAME = np.zeros((400, 600, 3), np.uint8)


class Scripted(FakeBackend):
    """A backend that answers from a list of (centre x, centre y, width, height, score), fractions of the crop."""

    name = "scripted"

    def __init__(self, answers: list[tuple[float, float, float, float, float]]) -> None:
        super().__init__()
        self.answers = iter(answers)

    def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
        assert len(crops) == features
        *box, score = next(self.answers)
        return SearchResult(np.array([box] * features, np.float32), np.array([score] * features, np.float32))


STAY = (0.5, 0.5, 0.25, 0.25)


def test_published_behaviour_by_hand() -> None:
    tracker = Tracker(Scripted([(0.625, 0.5, 0.25, 0.5, 0.01)]), lost=None)
    tracker.init(FRAME, (100, 100, 40, 40))  # the window is 160 pixels wide, centred on (120, 120)
    track = tracker.update(FRAME)
    # centre (120 + 20, 120), size (40, 80)
    assert track.box.as_tuple() == pytest.approx((120, 80, 40, 80))
    assert track.score == pytest.approx(0.01)
    assert track.state == "tracking"


def test_lost_holds_the_last_good_box_and_widens_the_search() -> None:
    policy = LostPolicy(threshold=0.2, patience=3, found=0.3, growth=1.5, widest=2.0, memory=1)
    low = (0.75, 0.5, 0.25, 0.25, 0.1)
    tracker = Tracker(Scripted([(*STAY, 0.5), low, low, low, low, low, (*STAY, 0.25), (*STAY, 0.31)]), lost=policy)
    tracker.init(FRAME, (100, 100, 40, 40))
    good = tracker.update(FRAME)
    assert good.box.as_tuple() == pytest.approx((100, 100, 40, 40))  # a quarter of the usual window, 160 pixels
    states = []
    for _ in range(7):
        track = tracker.update(FRAME)
        states.append(track.state)
        if track.state == "lost":
            assert track.box == good.box
    assert states == ["tracking", "tracking", "lost", "lost", "lost", "lost", "tracking"]
    # a quarter of the wider window: 320 pixels, since 1.5 ** 4 is more than twice the normal side
    assert track.box.as_tuple() == pytest.approx((80, 80, 80, 80))


def test_what_shrinks_before_it_is_lost_is_held_at_its_usual_size() -> None:
    half, low = (0.5, 0.5, 0.125, 0.125, 0.5), (0.5, 0.5, 0.1, 0.1, 0.1)
    answers = [half, low, low, (*STAY, 0.5)]
    tracker = Tracker(Scripted(answers), lost=LostPolicy(patience=2, memory=2, growth=1))
    tracker.init(FRAME, (100, 100, 40, 40))  # the window is 160 pixels wide
    assert tracker.update(FRAME).box.as_tuple() == pytest.approx((110, 110, 20, 20))
    tracker.update(FRAME)
    track = tracker.update(FRAME)
    side = 40 * 0.5**0.5  # half way, as ratios go, from 40 to 20
    assert track.state == "lost"
    assert track.box.as_tuple() == pytest.approx((120 - side / 2, 120 - side / 2, side, side))
    assert tracker.update(FRAME).box.w == pytest.approx(114 / 4)  # a quarter of the window, ceil(4 * 28.28)


@pytest.mark.slow
def test_a_target_is_found_again_behind_a_post(bundle: Path) -> None:
    """With the real network: it shrinks to what can be seen beside the post, and is found at its size behind it."""
    shown = list(demo.frames())
    tracker = Tracker(load(bundle, "ort", threads=1))
    tracker.init(*shown[0])
    tracks = [tracker.update_all(image)[0] for image, _ in shown[1:]]
    overlaps = [iou(t.box.as_tuple(), b.as_tuple()) for t, (_, b) in zip(tracks, shown[1:], strict=True)]
    assert np.mean(overlaps[-60:]) > 0.7
    assert {t.state for t in tracks[-60:]} == {"tracking"}


@pytest.mark.slow
def test_lost_for_hours_and_found_again() -> None:
    frames = 100_000  # an hour at 28 fps: a factor for every frame would have left what a float holds
    low = (*STAY, 0.1)
    tracker = Tracker(Scripted([low] * frames + [(*STAY, 0.9)] * 2))
    tracker.init(FRAME, (100, 100, 40, 40))
    for _ in range(frames):
        track = tracker.place(tracker.locate(np.zeros((1, 256, 256, 3), np.uint8)), 600, 400)[0]
    assert track.state == "lost"
    track = tracker.update(FRAME)
    assert track.state == "tracking"
    assert track.box.w == pytest.approx(60)  # a quarter of 240 pixels, 1.5 times the normal side
    assert tracker.update(FRAME).box.w == pytest.approx(60)  # the normal side for a target of 60 pixels is 240


def test_one_low_frame_is_not_lost() -> None:
    tracker = Tracker(Scripted([(*STAY, 0.1), (*STAY, 0.5)] * 10))
    tracker.init(FRAME, (100, 100, 40, 40))
    assert {tracker.update(FRAME).state for _ in range(20)} == {"tracking"}


def test_one_box_or_several() -> None:
    tracker = Tracker(Scripted([(*STAY, 0.5)] * 4))
    tracker.init(FRAME, np.array([100.0, 100, 40, 40]))
    assert tracker.update(FRAME).box == Box(100, 100, 40, 40)
    tracker.init(FRAME, [(100, 100, 40, 40), Box(200, 50, 20, 80)])
    tracks = tracker.update_all(FRAME)
    assert [t.box.as_tuple() for t in tracks] == [pytest.approx(b) for b in [(100, 100, 40, 40), (190, 70, 40, 40)]]


@pytest.mark.parametrize(
    "box", [(1, 2, 3), "abcd", (700, 0, 10, 10), (0, 0, 0, 9), [], (1, 2, 3, float("nan")), None, 5, (10**400, 1, 1, 1)]
)
def test_bad_boxes(box: object) -> None:
    with pytest.raises(BoxError):
        Tracker(Scripted([])).init(FRAME, box)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3)),
        np.zeros((0, 9, 3), np.uint8),
        None,
    ],
)
def test_bad_frames(frame: object) -> None:
    with pytest.raises(SourceError, match="BGR uint8"):
        Tracker(Scripted([])).init(frame, (1, 1, 5, 5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "advice"),
    [
        (None, "the video has ended"),
        (np.zeros((9, 9), np.uint8), "COLOR_GRAY2BGR"),
        (np.zeros((9, 9, 4), np.uint8), "COLOR_BGRA2BGR"),
        (np.zeros((9, 9, 3), np.float32), r"\(frame \* 255\)\.astype"),
        (np.zeros((9, 9, 3), np.int64), r"frame\.astype"),
        (np.zeros((9, 0, 3), np.uint8), "no pixels"),
        ([[1]], "list"),
    ],
)
def test_a_wrong_frame_is_told_how_to_become_a_frame(frame: object, advice: str) -> None:
    tracker = Tracker(Scripted([]))
    tracker.init(FRAME, (100, 100, 40, 40))
    with pytest.raises(SourceError, match=f"BGR uint8.*{advice}"):
        tracker.update(frame)  # type: ignore[arg-type]


@pytest.mark.parametrize("box", [(0.3, 0.2, 0.4, 0.4), [(10, 10, 20, 20), (0, 0, 1, 1)]])
def test_fractions_are_no_pixels(box: object) -> None:
    with pytest.raises(BoxError, match="pixels, not fractions"):
        Tracker(Scripted([])).init(FRAME, box)  # type: ignore[arg-type]


def test_update_before_init() -> None:
    with pytest.raises(UserError, match="init"):
        Tracker(Scripted([])).update(FRAME)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 2},
        {"patience": 0},
        {"growth": 0.5},
        {"found": -1},
        {"widest": 0},
        {"widest": np.inf},
        {"growth": np.nan},
        {"memory": 0},
        {"widest": 1e9},
    ],
)
def test_bad_policies(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        LostPolicy(**wrong)  # type: ignore[arg-type]


def clip(shared: Path, name: str, count: int) -> tuple[list[Any], npt.NDArray[np.float64]]:
    folder = shared / "sequences" / name
    frames = [cv2.imread(str(path)) for path in sorted((folder / "img").glob("*.jpg"))[:count]]
    return frames, np.loadtxt(folder / "groundtruth.txt", delimiter=",")[:count]


@pytest.mark.slow
def test_a_real_clip(bundle: Path, shared: Path) -> None:
    frames, truth = clip(shared, "davis_blackswan", 30)
    tracker = Tracker(load(bundle))
    tracker.init(frames[0], truth[0])
    boxes = np.array([tracker.update(f).box.as_tuple() for f in frames[1:]])
    overlap = iou(boxes, truth[1:])
    assert overlap.mean() > 0.7
    assert overlap.min() > 0.5


@pytest.mark.slow
def test_several_targets_go_their_own_ways(bundle: Path, shared: Path) -> None:
    """Two targets in one batch are each where they would be alone; a turned frame makes them differ."""
    frames, truth = clip(shared, "davis_blackswan", 8)
    other = (300.0, 20.0, 80.0, 60.0)
    model = load(bundle)
    alone = []
    for box in (truth[0], other):
        tracker = Tracker(model)
        tracker.init(frames[0], box)
        alone.append([tracker.update(f).box.as_tuple() for f in frames[1:]])
    both = Tracker(model)
    both.init(frames[0], [truth[0], other])
    together = [[t.box.as_tuple() for t in both.update_all(f)] for f in frames[1:]]
    assert np.allclose(np.array(alone).transpose(1, 0, 2), together, atol=0.05)


@pytest.mark.slow
def test_backends_agree_over_a_clip(bundle: Path, shared: Path) -> None:
    """The runtimes follow one path; fp16, whose own path the gate's tests judge, answers the same crops alike."""
    frames, truth = clip(shared, "vot_bag", 12)
    ours, reference, half = load(bundle), load(bundle, "torch"), load(bundle, precision="fp16")
    trackers = {model.label: Tracker(model, lost=None) for model in (ours, reference, half)}
    for tracker in trackers.values():
        tracker.init(frames[0], truth[0])
    for frame in frames[1:]:
        boxes = [trackers[model.label].update_all(frame)[0].box.as_tuple() for model in (ours, reference)]
        assert np.abs(np.subtract(boxes[0], boxes[1])).max() < 0.05
        crops = trackers[reference.label].cut(frame)
        maps: list[Any] = [trackers[m.label].locate(crops, score_map=True).score_map for m in (reference, half)]
        assert np.abs(np.subtract(maps[0], maps[1])).max() < 5e-3


class Sides(Scripted):
    """A backend of several sides; it answers for every target from the score and the shift that the test set for it."""

    sides = (192, 256, 320)

    def __init__(self, *scores: float) -> None:
        super().__init__([])
        self.scores = list(scores)
        self.shift = 0.0
        self.asked: list[tuple[int, int]] = []
        self.encoded = 0
        self.seen = np.empty(0, np.uint8)  # the first target's last crop

    def _template(self, crops: Crops) -> Crops:
        self.encoded += 1
        return np.array(crops[:, 64, 64, 0])  # the target's number, painted into its middle

    def _search(self, crops: Crops, features: Crops, score_map: bool) -> SearchResult:  # type: ignore[override]
        side = crops.shape[1]
        self.asked.append((side, len(crops)))
        self.seen = crops[0].copy()
        assert crops[:, side // 2, side // 2, 0].tolist() == features.tolist(), "every crop with its own template"
        box = np.array(
            [[0.5 + self.shift, 0.5, 64 / side, 64 / side]] * len(crops), np.float32
        )  # a target of 64 pixels
        return SearchResult(box, np.array([self.scores[number] for number in features], np.float32))

    def window(self, target: float) -> float:
        """Side of the last window in pixels of the frame, to ten pixels, from the share that the target has of it."""
        middle = self.seen[self.seen.shape[0] // 2, :, 0]
        return round(target / float(np.mean(1 - middle / 255.0)), -1)  # the target is black, all else white


def numbered(*boxes: Box) -> npt.NDArray[np.uint8]:
    """A frame with a number at every box."""
    frame = np.full((400, 600, 3), 255, np.uint8)
    for number, (x, y, w, h) in enumerate(boxes):
        frame[int(y) : int(y + h), int(x) : int(x + w)] = number
    return frame


def test_the_side_of_the_search_crop_follows_score_and_motion() -> None:
    model, box = Sides(0.5), Box(100, 100, 40, 40)
    tracker = Tracker(model, lost=LostPolicy(patience=2))
    frame = numbered(box)
    tracker.init(frame, box)
    seen = []
    for model.scores[0] in (0.5, 0.5, 0.3, 0.5, 0.1, 0.1, 0.1, 0.9):
        track = tracker.update(frame)
        seen.append((tracker.search_sizes[0], model.window(40), track.state))
        assert np.allclose(track.box, box, atol=1), "a target keeps its size and place at every side"
    assert seen == [
        (256, 160, "tracking"),  # nobody knows yet how it moves
        (192, 120, "tracking"),
        (192, 120, "tracking"),
        (256, 160, "tracking"),  # the score was below 0.4
        (192, 120, "tracking"),
        (320, 200, "lost"),  # below 0.2, the second time: no wider window, the same pixels per pixel
        (320, 200, "lost"),
        (320, 200, "tracking"),  # found; only the next one is narrower
    ]
    model.shift = 0.6 * 64 / 192  # 0.6 of the target's side
    track = tracker.update(frame)
    assert tracker.search_sizes == (192,)
    frame = numbered(track.box)
    model.shift = 0.0
    tracker.update(frame)
    assert tracker.search_sizes == (256,)


def test_targets_are_searched_in_one_batch_per_side() -> None:
    boxes = [Box(100, 100, 40, 40), Box(300, 100, 40, 40), Box(100, 250, 40, 40), Box(300, 250, 40, 40)]
    model, frame = Sides(0.5, 0.3, 0.6, 0.1), numbered(*boxes)
    tracker = Tracker(model, lost=None)
    tracker.init(frame, boxes)
    tracker.update_all(frame)
    assert model.asked == [(256, 4)]
    for _ in range(3):
        tracks = tracker.update_all(frame)
        assert [track.score for track in tracks] == pytest.approx([0.5, 0.3, 0.6, 0.1])
        assert np.allclose([track.box for track in tracks], boxes, atol=1)
        assert tracker.search_sizes == (192, 256, 192, 320)
    assert model.asked[1:] == [(192, 2), (256, 1), (320, 1)] * 3
    assert model.encoded == 4, "the targets of a batch are encoded once"


@pytest.mark.parametrize("wrong", [{"confident": 0.1}, {"unsure": -0.1}, {"motion": -1}, {"confident": np.nan}])
def test_bad_search_policies(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="search policy"):
        SearchPolicy(**wrong)


def test_a_network_that_fails_leaves_the_target_where_it_was() -> None:
    class Failing(Scripted):
        failing = True

        def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
            if self.failing:
                raise NonFiniteError("no")
            return super()._search(crops, features, score_map)

    model = Failing([(*STAY, 0.5)])
    tracker = Tracker(model)
    tracker.init(FRAME, (100, 100, 40, 40))
    with pytest.raises(NonFiniteError):
        tracker.update(FRAME)
    model.failing = False
    assert tracker.update(FRAME).box == Box(100, 100, 40, 40)
