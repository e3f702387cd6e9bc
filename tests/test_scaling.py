"""Scaling gives the same bytes whatever OpenCV's own code for the processor does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from golden import CASES, GoldenCase, sha256

from mvt_deploy.geometry import crop, crop_window
from mvt_deploy.scaling import opencv_is_exact, scale, scale_exactly


def noise(side: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@pytest.fixture
def other_opencv(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An OpenCV that is off by a grey level here and there, as the one for ARM is."""
    resize = cv2.resize

    def off(source: Any, size: tuple[int, int], **options: Any) -> Any:
        found = resize(source, size, **options)
        found[::7] ^= 1
        return found

    monkeypatch.setattr(cv2, "resize", off)
    opencv_is_exact.cache_clear()
    yield
    opencv_is_exact.cache_clear()


@pytest.mark.skipif(not opencv_is_exact(), reason="this OpenCV scales with other code than on x86-64")
@pytest.mark.parametrize("size", [64, 128, 192, 224, 256, 320])
def test_numpy_scales_to_the_byte_as_opencv_on_x86(size: int) -> None:
    sides = [*range(1, 24), *range(24, 1000, 61), size - 1, size, size + 1, 2 * size - 1, 2 * size, 3 * size, 4 * size]
    for side in sides:
        picture = noise(side, side)
        assert np.array_equal(scale_exactly(picture, size), cv2.resize(picture, (size, size))), side


@pytest.mark.parametrize("case", CASES, ids=str)
def test_crops_are_the_published_ones_under_another_opencv(case: GoldenCase, other_opencv: None) -> None:
    assert not opencv_is_exact()
    for name, factor, size in (("template", 2.0, 128), ("search", 4.0, 256)):
        assert sha256(crop(case.frame, crop_window(case.box, factor), size)) == case.crop_sha256[name]


def test_scaling_writes_where_it_is_told() -> None:
    out = np.zeros((64, 64, 3), np.uint8)
    scale(noise(100), 64, out)
    assert np.array_equal(out, scale_exactly(noise(100), 64))


def test_a_scaled_flat_picture_stays_flat() -> None:
    for value in (0, 1, 128, 255):
        assert np.unique(scale_exactly(np.full((77, 77, 3), value, np.uint8), 128)).tolist() == [value]
