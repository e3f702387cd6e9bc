"""Boxes and crops against the golden data of the published code, and against arithmetic by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvt_deploy.errors import BoxError
from mvt_deploy.geometry import Box, CropWindow, clip, crop, crop_window, iou, map_back, require_overlap


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "reference" / "official_layout.npz"))


@pytest.mark.parametrize("index", range(8))
def test_crops_equal_the_published_ones_to_the_byte(golden: dict[str, np.ndarray], index: int) -> None:
    box = Box.of(golden["boxes"][index])
    for name, factor, size in (("template", 2.0, 128), ("search", 4.0, 256)):
        window = crop_window(box, factor)
        assert np.array_equal(crop(golden["frame"], window, size), golden[f"{name}_{index}"])
        assert size / window.side == pytest.approx(golden[f"resize_{index}"][int(name == "search")])


@pytest.mark.parametrize("index", range(8))
def test_boxes_map_back_and_clip_as_published(golden: dict[str, np.ndarray], index: int) -> None:
    box = Box.of(golden["boxes"][index])
    height, width = golden["frame"].shape[:2]
    mapped = map_back(golden[f"cxcywh_{index}"].ravel(), box, crop_window(box, 4.0).side)
    assert np.allclose(mapped.as_tuple(), golden[f"box_unclipped_{index}"].ravel(), atol=1e-3)
    assert np.allclose(clip(mapped, width, height).as_tuple(), golden[f"box_{index}"].ravel(), atol=1e-3)


def test_window_by_hand() -> None:
    # sqrt(20 * 45) = 30; 30 * 4 = 120; centre (20, 32.5); corner (20 - 60, 32.5 - 60), and -27.5 rounds to even
    assert crop_window(Box(10, 10, 20, 45), 4.0) == CropWindow(-40, -28, 120)


def test_crop_outside_the_frame_is_black() -> None:
    frame = np.full((40, 60, 3), 200, np.uint8)
    assert not crop(frame, CropWindow(500, 500, 50), 64).any()
    assert not crop(frame, CropWindow(-80, 0, 50), 64).any()


def test_crop_pads_its_far_edge_one_pixel_early() -> None:
    frame = np.full((10, 10, 3), 255, np.uint8)
    whole = crop(frame, CropWindow(0, 0, 10), 10)
    assert whole[:9, :9].all()
    assert not whole[9].any()
    assert not whole[:, 9].any()


def test_crop_writes_where_it_is_told() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    out = np.empty((2, 32, 32, 3), np.uint8)
    assert crop(frame, CropWindow(5, -3, 60), 32, out[1]) is not None
    assert np.array_equal(out[1], crop(frame, CropWindow(5, -3, 60), 32))


@pytest.mark.parametrize("values", ["abc", [1, 2, 3], [1, 2, 3, float("nan")], [0, 0, 0, 5], [0, 0, 5, -1], [None] * 4])
def test_what_is_no_box(values: object) -> None:
    with pytest.raises(BoxError):
        Box.of(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("box", [Box(100, 0, 5, 5), Box(-5, 0, 5, 5), Box(0, 80, 5, 5), Box(0, -9, 5, 9)])
def test_boxes_outside_the_frame(box: Box) -> None:
    with pytest.raises(BoxError, match="outside the 100x80 frame"):
        require_overlap(box, 100, 80)


def test_iou_by_hand() -> None:
    assert iou([0, 0, 2, 2], [1, 1, 2, 2]) == pytest.approx(1 / 7)
    assert iou([[0, 0, 2, 2], [5, 5, 1, 1]], [0, 0, 2, 2]).tolist() == [1.0, 0.0]
    assert iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0


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


@given(numbers, numbers, st.floats(1, 1e3), st.floats(1, 1e3))
def test_the_middle_of_the_window_maps_back_to_the_box(x: float, y: float, w: float, h: float) -> None:
    box = Box(x, y, w, h)
    side = crop_window(box, 4.0).side
    mapped = map_back([0.5, 0.5, w / side, h / side], box, side)
    assert np.allclose(mapped.as_tuple(), box.as_tuple(), atol=1e-6 * max(1, abs(x), abs(y)))
