"""The page's geometry against the golden data of the published code, and against the Python module."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from golden import CASES, sha256

from mvt_deploy.geometry import Box, CropWindow, clip, crop, crop_window, map_back

CROPS = """
import { readFileSync, writeFileSync } from "node:fs";
import { crop } from "PAGE/geometry.js";
const { width, height, cases } = JSON.parse(readFileSync("cases.json"));
const frame = { width, height, data: new Uint8ClampedArray(readFileSync("frame.bin")) };
const crops = cases.map(({ x, y, side, size }) => {
  const out = new Uint8Array(size * size * 3).fill(99);
  crop(frame, { x, y, side }, size, out);
  return out;
});
writeFileSync("crops.bin", Buffer.concat(crops));
console.log(crops.length);
"""
Pixels = npt.NDArray[np.uint8]
RunModule = Callable[[str], Any]


def page_crops(run: RunModule, folder: Path, frame: Pixels, cases: list[tuple[CropWindow, int]]) -> list[Pixels]:
    """The crops that the page cuts out of a BGR frame, for windows and the sides of their crops."""
    height, width = frame.shape[:2]
    np.dstack([frame[..., ::-1], np.full((height, width), 255, np.uint8)]).tofile(folder / "frame.bin")
    windows = [{"x": w.x, "y": w.y, "side": w.side, "size": size} for w, size in cases]
    (folder / "cases.json").write_text(json.dumps({"width": width, "height": height, "cases": windows}))
    assert run(CROPS) == len(cases)
    data = np.fromfile(folder / "crops.bin", np.uint8)
    ends = np.cumsum([3 * size * size for _, size in cases])
    return [part.reshape(size, size, 3) for part, (_, size) in zip(np.split(data, ends[:-1]), cases, strict=True)]


def windows_of(run: RunModule, boxes: list[Box], factor: float) -> list[CropWindow]:
    text = json.dumps([dict(zip("xywh", box, strict=True)) for box in boxes])
    found = run(f"""
        import {{ cropWindow }} from "PAGE/geometry.js";
        console.log(JSON.stringify({text}.map((box) => cropWindow(box, {factor}))));
    """)
    return [CropWindow(**window) for window in found]


@pytest.mark.parametrize("weights", sorted({case.weights for case in CASES}))
def test_crops_equal_the_published_ones_to_the_byte(run_module: RunModule, tmp_path: Path, weights: str) -> None:
    cases = [case for case in CASES if case.weights == weights]
    for name, factor, size in (("template", 2.0, 128), ("search", 4.0, 256)):
        windows = windows_of(run_module, [case.box for case in cases], factor)
        crops = page_crops(run_module, tmp_path, cases[0].frame, [(window, size) for window in windows])
        for case, found in zip(cases, crops, strict=True):
            assert sha256(found) == case.crop_sha256[name], f"{name} {case}"


def test_crops_equal_those_of_the_python_module(run_module: RunModule, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (150, 200, 3), np.uint8)
    cases = []
    for number in range(120):
        side, size = int(random.integers(1, 600)), int(random.choice([64, 96, 128]))
        side = {0: 2 * size, 1: size, 2: 1}.get(number % 12, side)  # scales of one half and one have ways of their own
        x, y = (int(random.integers(-side, length + 5)) for length in (200, 150))
        cases.append((CropWindow(x, y, side), size))
    cases += [(CropWindow(-70000, -70000, 140000), 64), (CropWindow(1 << 29, 0, 1 << 30), 64)]
    for found, (window, size) in zip(page_crops(run_module, tmp_path, frame, cases), cases, strict=True):
        wanted = crop(frame, window, size)
        if window.side <= 8192:
            assert np.array_equal(found, wanted), (window, size)
        else:
            assert np.abs(found.astype(int) - wanted).max() <= 1, (window, size)


def test_windows_round_half_to_even(run_module: RunModule) -> None:
    random = np.random.default_rng(1)
    boxes = [Box(*(float(v) for v in random.integers(1, 200, 4) / 2)) for _ in range(200)]
    boxes += [Box(-40.5, -3.25, 17.0, 9.5), Box(10, 10, 20, 45), Box(5, 5, 0.1, 0.1)]
    for factor in (2.0, 4.0, 3.0):
        assert windows_of(run_module, boxes, factor) == [crop_window(box, factor) for box in boxes]


@pytest.mark.parametrize("weights", sorted({case.weights for case in CASES}))
def test_boxes_map_back_and_clip_as_published(run_module: RunModule, weights: str) -> None:
    cases = [case for case in CASES if case.weights == weights]
    height, width = cases[0].frame.shape[:2]
    boxes = [[case.centre_size.tolist(), [*case.box], crop_window(case.box, 4.0).side] for case in cases]
    found = run_module(f"""
        import {{ clip, mapBack }} from "PAGE/geometry.js";
        const boxes = {json.dumps(boxes)}.map(([centreSize, [x, y, w, h], side]) =>
            clip(mapBack(centreSize, {{ x, y, w, h }}, side), {width}, {height}));
        console.log(JSON.stringify(boxes));
    """)
    for case, box in zip(cases, found, strict=True):
        assert np.allclose([box[k] for k in "xywh"], case.clipped, atol=0.1)


@pytest.mark.parametrize(("width", "height"), [(160, 120), (7, 3)])
def test_map_back_and_clip_are_those_of_the_python_module(run_module: RunModule, width: int, height: int) -> None:
    random = np.random.default_rng(2)
    cases: list[list[Any]] = []
    for _ in range(100):
        box = [*random.uniform(-50, 150, 2), *random.uniform(1, 120, 2)]
        cases.append([random.uniform(0, 1.2, 4).tolist(), [float(v) for v in box], int(random.integers(1, 500))])
    found = run_module(f"""
        import {{ clip, mapBack }} from "PAGE/geometry.js";
        const boxes = {json.dumps(cases)}.map(([centreSize, [x, y, w, h], side]) =>
            clip(mapBack(centreSize, {{ x, y, w, h }}, side), {width}, {height}));
        console.log(JSON.stringify(boxes));
    """)
    for (fractions, box, side), got in zip(cases, found, strict=True):
        wanted = clip(map_back(fractions, Box(*box), side), width, height)
        assert tuple(got[k] for k in "xywh") == pytest.approx(tuple(wanted), abs=1e-9)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (200, 0, 5, 5), (0, -9, 5, 9), ("NaN", 0, 5, 5)])
def test_boxes_that_cannot_be_followed_are_refused(run_module: RunModule, box: tuple[Any, ...]) -> None:
    x, y, w, h = box
    assert run_module(f"""
        import {{ BoxError, requireOverlap }} from "PAGE/geometry.js";
        try {{
          requireOverlap({{ x: {x}, y: {y}, w: {w}, h: {h} }}, 200, 100);
          console.log(false);
        }} catch (error) {{
          console.log(error instanceof BoxError && /draw it again/.test(error.message));
        }}
    """)
