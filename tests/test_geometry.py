"""Boxes and crops against the golden data of the published code, and against arithmetic by hand."""

from __future__ import annotations

import json
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from golden import CASES, SHARED, GoldenCase, sha256
from hypothesis import example, given
from hypothesis import strategies as st

from mvt_deploy import geometry
from mvt_deploy.errors import BoxError
from mvt_deploy.geometry import (
    LARGEST_SIDE,
    Box,
    CropWindow,
    clip,
    crop,
    crop_window,
    format_box,
    iou,
    map_back,
    require_overlap,
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_crops_equal_the_published_ones_to_the_byte(case: GoldenCase) -> None:
    for name, factor, size in (("template", 2.0, 128), ("search", 4.0, 256)):
        window = crop_window(case.box, factor)
        assert sha256(crop(case.frame, window, size)) == case.crop_sha256[name]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_boxes_map_back_and_clip_as_published(case: GoldenCase) -> None:
    height, width = case.frame.shape[:2]
    mapped = map_back(case.centre_size, case.box, crop_window(case.box, 4.0).side)
    assert np.allclose(clip(mapped, width, height), case.clipped, rtol=0, atol=1e-4)
    if case.unclipped is not None:
        assert np.allclose(mapped, case.unclipped, rtol=0, atol=1e-3)


def test_the_scales_of_crops_are_the_published_ones() -> None:
    cases = [case for case in CASES if case.scales]
    if not cases:
        pytest.skip(f"golden cases that record scales are not at {SHARED}")
    for case in cases:
        for scale, factor, size in zip(case.scales, (2.0, 4.0), (128, 256), strict=True):
            assert size / crop_window(case.box, factor).side == pytest.approx(scale), case


def test_window_by_hand() -> None:
    # sqrt(20 * 45) = 30; 30 * 4 = 120; centre (20, 32.5); corner (20 - 60, 32.5 - 60), and -27.5 rounds to even
    assert crop_window(Box(10, 10, 20, 45), 4.0) == CropWindow(-40, -28, 120)


def test_the_smallest_and_the_largest_window() -> None:
    assert crop_window(Box(5, 5, 0.1, 0.1), 4.0).side == 1
    assert crop_window(Box(0, 0, LARGEST_SIDE / 4, LARGEST_SIDE / 4), 4.0).side == LARGEST_SIDE


def test_crop_outside_the_frame_is_black() -> None:
    frame = np.full((40, 60, 3), 200, np.uint8)
    assert not crop(frame, CropWindow(500, 500, 50), 64).any()
    assert not crop(frame, CropWindow(-80, 0, 50), 64).any()
    assert not crop(frame, CropWindow(10**9, 0, 50), 64).any()  # and costs no memory
    assert not crop(frame, CropWindow(0, 10**9, 50), 64).any()


def test_crop_pads_its_far_edge_one_pixel_early() -> None:
    frame = np.full((10, 10, 3), 255, np.uint8)
    whole = crop(frame, CropWindow(0, 0, 10), 10)
    assert whole[:9, :9].all()
    assert not whole[9].any()
    assert not whole[:, 9].any()


@pytest.mark.parametrize(("x", "y"), [(-5, 10), (10, -5), (40, 10), (10, 30)])
def test_a_crop_that_leaves_the_frame_on_one_side_is_padded_there(x: int, y: int) -> None:
    frame = np.random.default_rng(2).integers(1, 256, (40, 50, 3), np.uint8)
    seen = np.pad(frame[:-1, :-1], ((20, 20), (20, 20), (0, 0)))  # the frame without its far edge
    assert np.array_equal(crop(frame, CropWindow(x, y, 16), 16), seen[y + 20 : y + 36, x + 20 : x + 36])


def test_crop_writes_where_it_is_told() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    out = np.empty((2, 32, 32, 3), np.uint8)
    assert crop(frame, CropWindow(5, -3, 60), 32, out[1]) is not None
    assert np.array_equal(out[1], crop(frame, CropWindow(5, -3, 60), 32))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("abc", "four numbers x,y,w,h in pixels, not 'abc'"),
        ([None] * 4, "four numbers"),
        ([1, 2, 3], r"four finite numbers x,y,w,h in pixels, not \[1.0, 2.0, 3.0\]"),
        ([1, 2, 3, float("nan")], "four finite numbers"),
        ([0, 0, 0, 5], "the box 0,0,0,5 has no size"),
        ([0, 0, 5, 0], "the box 0,0,5,0 has no size"),
        ([0, 0, 5, -1], "has no size"),
    ],
)
def test_what_is_no_box(values: object, message: str) -> None:
    with pytest.raises(BoxError, match=message):
        Box.of(values)  # type: ignore[arg-type]


def test_boxes_are_written_with_up_to_three_decimals() -> None:
    assert format_box(Box(100, 0.5, 30.125, 20.33333)) == "100,0.5,30.125,20.333"


def test_a_box_is_a_tuple_of_four() -> None:
    box = Box(10.4, 20.5, 30.2, 40.0)
    x, y, w, h = box
    assert (x, y, w, h) == box == (box[0], box[1], box[2], box[-1])
    assert len(box) == 4
    assert json.loads(json.dumps(box)) == [10.4, 20.5, 30.2, 40.0]
    assert np.asarray(box).shape == (4,)
    assert np.asarray([box, box]).dtype == np.float64
    assert type(box.as_tuple()) is tuple


def test_corners_and_whole_pixels_of_a_box() -> None:
    box = Box(10.4, 20.6, 30.2, 40.0)
    assert box.xyxy == pytest.approx((10.4, 20.6, 40.6, 60.6))
    assert box.rounded == (10, 21, 31, 40)  # from the rounded corners (10, 21) and (41, 61), so both ends are right
    image = np.zeros((80, 80, 3), np.uint8)
    cv2.rectangle(image, box.rounded, (255, 255, 255), 1)
    rows, columns = np.nonzero(image[:, :, 0])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (10, 21, 41, 61)


def test_in_a_frame_smaller_than_the_margin_a_box_stays_inside() -> None:
    assert clip(Box(-3, 0, 10, 10), 1, 1) == Box(0, 0, 1, 1)
    assert clip(Box(30, 2, 4, 1), 8, 40) == Box(0, 2, 8, 10)


@pytest.mark.parametrize("box", [Box(100, 0, 5, 5), Box(-5, 0, 5, 5), Box(0, 80, 5, 5), Box(0, -9, 5, 9)])
def test_boxes_outside_the_frame(box: Box) -> None:
    with pytest.raises(BoxError, match="outside the 100x80 frame"):
        require_overlap(box, 100, 80)


@pytest.mark.parametrize("box", [Box(-4.5, -4.5, 5, 5), Box(50, 40, 60, 50), Box(99.5, 79.5, 5, 5)])
def test_boxes_partly_inside_the_frame(box: Box) -> None:
    assert require_overlap(box, 100, 80) is box


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (-1, -1), (float("nan"), 5), (float("inf"), 5)])
def test_boxes_without_a_size_have_no_window(size: tuple[float, float]) -> None:
    with pytest.raises(BoxError, match="finite numbers and a positive size"):
        crop_window(Box(0, 0, *size), 4.0)


@pytest.mark.parametrize("side", [1e-200, 1e200, 1e9])
def test_boxes_no_window_can_be_cut_around(side: float) -> None:
    with pytest.raises(BoxError, match="cannot crop"):
        crop_window(Box.of([0, 0, side, side]), 4.0)


def test_a_box_far_larger_than_the_frame_costs_no_memory() -> None:
    frame = np.full((100, 200, 3), 255, np.uint8)
    window = crop_window(Box(-1e5, -1e5, 2.1e5, 2.1e5), 4.0)  # laid out, it would take two terabytes
    assert window.side == 840_000
    assert crop(frame, window, 64).shape == (64, 64, 3)


@example(20, 30, 10, 100, 100)  # inside the frame: the window's own edge is repeated, not what lies beyond it
@example(0, 0, 99, 100, 100)
@given(st.integers(-300, 200), st.integers(-300, 200), st.integers(1, 700), st.integers(1, 120), st.integers(1, 120))
def test_sampling_a_window_is_scaling_it(x: int, y: int, side: int, width: int, height: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    window = CropWindow(x, y, side)
    with pytest.MonkeyPatch.context() as patch:
        wanted = crop(frame, window, 48)
        patch.setattr(geometry, "LARGEST_LAID_OUT", 0)
        assert np.abs(crop(frame, window, 48).astype(int) - wanted).max() <= 1


@given(st.integers(-80, 80), st.integers(-80, 80), st.integers(1, 90), st.integers(1, 50), st.integers(1, 50))
def test_a_crop_shows_the_frame_inside_and_black_outside(x: int, y: int, side: int, width: int, height: int) -> None:
    """At its own size a crop is a copy, but for the last row and column of the frame where the window passes them."""
    frame = np.random.default_rng(1).integers(1, 256, (height, width, 3), np.uint8)
    last_row = height - 1 if y + side > height - 1 else height
    last_column = width - 1 if x + side > width - 1 else width
    rows, columns = np.arange(y, y + side), np.arange(x, x + side)
    inside = ((rows >= 0) & (rows < last_row))[:, None] & ((columns >= 0) & (columns < last_column))
    wanted = frame[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)] * inside[..., None]
    assert np.array_equal(crop(frame, CropWindow(x, y, side), side), wanted)


@pytest.mark.parametrize(
    "view", [lambda f: f[::-1], lambda f: f[:, ::2], lambda f: f[..., ::-1], lambda f: f.transpose(1, 0, 2)]
)
def test_frames_need_not_be_contiguous(view: Callable[[np.ndarray], np.ndarray]) -> None:
    frame = view(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for window in (CropWindow(5, 7, 20), CropWindow(-5, 7, 80)):
        assert np.array_equal(crop(frame, window, 32), crop(np.ascontiguousarray(frame), window, 32))


def test_iou_by_hand() -> None:
    assert iou([0, 0, 2, 2], [1, 1, 2, 2]) == pytest.approx(1 / 7)
    assert iou([[0, 0, 2, 2], [5, 5, 1, 1]], [0, 0, 2, 2]).tolist() == [1.0, 0.0]
    assert iou([0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]) == 1
    with np.errstate(all="raise"):
        assert iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0


def test_iou_is_taken_in_double_precision() -> None:
    single = np.array([[0.1, 0.2, 0.3, 0.4], [0.15, 0.25, 0.31, 0.37]], np.float32)
    double = single.astype(np.float64)
    assert iou(single[0], single[1]) == iou(double[0], double[1])
    assert iou(single[0], double[1]) == iou(double[0], single[1]) == iou(double[0], double[1])


def test_clip_by_hand() -> None:
    assert clip(Box(0.5, 0.25, 20, 30), 100, 80) == Box(0.5, 0.25, 20, 30)
    assert clip(Box(-5, -6, 20, 30), 100, 80) == Box(0, 0, 15, 24)
    assert clip(Box(95, 78, 20, 30), 100, 80) == Box(90, 70, 10, 10)


numbers = st.floats(-1e5, 1e5)
sides = st.floats(1e-3, 1e5)


@given(numbers, numbers, sides, sides, st.integers(20, 4000), st.integers(20, 4000))
def test_a_clipped_box_keeps_its_margin_inside(x: float, y: float, w: float, h: float, width: int, height: int) -> None:
    box = clip(Box(x, y, w, h), width, height)
    assert box.w >= 10
    assert box.h >= 10
    assert 0 <= box.x <= width - 10
    assert 0 <= box.y <= height - 10
    assert box.x + box.w <= width + 10
    assert box.y + box.h <= height + 10


@given(st.lists(st.floats(-1e9, 1e9), min_size=8, max_size=8))
def test_iou_is_symmetric_and_between_zero_and_one(values: list[float]) -> None:
    first, second = np.array(values[:4]), np.array(values[4:])
    first[2:], second[2:] = np.abs(first[2:]), np.abs(second[2:])
    assert 0 <= iou(first, second) <= 1
    assert iou(first, second) == iou(second, first)


def test_iou_never_exceeds_one_by_rounding() -> None:
    boxes = np.random.default_rng(0).uniform(0, 1e4, (20_000, 4))
    assert iou(boxes, boxes).max() == 1.0


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=4, max_size=4))
def test_four_numbers_are_a_box_or_an_error(values: list[float]) -> None:
    try:
        box = Box.of(values)
    except BoxError:
        assert not (np.isfinite(values).all() and min(values[2:]) > 0)
    else:
        assert list(box) == values


@given(numbers, numbers, st.floats(1, 1e3), st.floats(1, 1e3))
def test_the_middle_of_the_window_maps_back_to_the_box(x: float, y: float, w: float, h: float) -> None:
    box = Box(x, y, w, h)
    side = crop_window(box, 4.0).side
    mapped = map_back([0.5, 0.5, w / side, h / side], box, side)
    assert np.allclose(mapped.as_tuple(), box.as_tuple(), atol=1e-6 * max(1, abs(x), abs(y)))
