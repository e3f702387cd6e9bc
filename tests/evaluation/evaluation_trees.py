"""Tiny datasets in every benchmark's layout, and trackers that need no network, for the tests beside."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mvt_deploy.geometry import Box
from mvt_deploy.tracker import Track

WIDTH, HEIGHT = 64, 48


def write_frames(folder: Path, numbers: Iterable[int], digits: int = 8, suffix: str = ".jpg") -> None:
    """Images of 64 x 48 pixels whose grey value is their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        image = np.full((HEIGHT, WIDTH, 3), number % 256, np.uint8)
        assert cv2.imwrite(str(folder / f"{number:0{digits}d}{suffix}"), image)


def write_rows(path: Path, rows: Any, separator: str = ",") -> None:
    """A text file with one row of numbers a line; NaN as the benchmarks write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join("NaN" if math.isnan(v) else f"{v:g}" for v in np.atleast_1d(row)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def walk(count: int, seed: int = 0) -> np.ndarray:
    """A random track ``[count, 4]`` inside the frame, with two decimals."""
    random = np.random.default_rng(seed)
    corner = np.clip(np.cumsum(random.normal(0, 3, (count, 2)), axis=0) + np.array([20, 14]), 1, [44, 30])
    side = np.clip(np.cumsum(random.normal(0, 1, (count, 2)), axis=0) + np.array([14, 12]), 5, [19, 17])
    return np.round(np.hstack([corner, side]), 2)


def disturbed(truth: np.ndarray, seed: int = 1, spread: float = 4.0) -> np.ndarray:
    """What a mediocre tracker would give for a track, with three decimals as in result files; some boxes far off."""
    random = np.random.default_rng(seed)
    found = np.where(np.isnan(truth), 20.0, truth) + random.normal(0, spread, truth.shape)
    found[:, 2:] = np.maximum(found[:, 2:], 2)
    found[random.random(len(found)) < 0.15, 0] -= 60
    found[0] = truth[0]
    return np.round(found, 3)


def got10k(root: Path, lengths: dict[str, int], split: str = "val", hidden: dict[str, list[int]] | None = None) -> Path:
    """GOT-10k; ``hidden`` says which frames (from 0) of a sequence have cover 0."""
    for index, (name, length) in enumerate(lengths.items()):
        folder = root / split / name
        write_frames(folder, range(1, length + 1))
        truth = walk(length, index)
        write_rows(folder / "groundtruth.txt", truth if split != "test" else truth[:1])
        cover = np.full(length, 8)
        cover[(hidden or {}).get(name, [])] = 0
        for label, values in {"cover": cover, "absence": cover == 0, "cut_by_image": cover * 0}.items():
            write_rows(folder / f"{label}.label", np.asarray(values, int))
        (folder / "meta_info.ini").write_text(
            f"[METAINFO]\nurl: x\nresolution: ({WIDTH}, {HEIGHT})\n", encoding="utf-8"
        )
    (root / split / "list.txt").write_text("\n".join(lengths) + "\n", encoding="utf-8")
    return root


def lasot(root: Path, lengths: dict[str, int], hidden: dict[str, list[int]] | None = None) -> Path:
    """LaSOT; ``hidden`` frames are out of view, with a box of zeros as the benchmark writes it."""
    for index, (name, length) in enumerate(lengths.items()):
        folder = root / name.rsplit("-", 1)[0] / name
        write_frames(folder / "img", range(1, length + 1))
        truth, out = walk(length, index), np.zeros(length, int)
        out[(hidden or {}).get(name, [])] = 1
        truth[out == 1] = 0
        write_rows(folder / "groundtruth.txt", truth)
        for flag, values in {"full_occlusion": out * 0, "out_of_view": out}.items():
            (folder / f"{flag}.txt").write_text(",".join(map(str, values)) + "\n", encoding="utf-8")
    return root


def otb(
    root: Path, name: str, numbers: Iterable[int], truth: np.ndarray, target: str = "", separator: str = ","
) -> Path:
    """One sequence of OTB."""
    write_frames(root / name / "img", numbers, digits=4)
    write_rows(root / name / f"groundtruth_rect{target}.txt", truth, separator)
    return root


def plain(root: Path, lengths: dict[str, int]) -> Path:
    """Plain folders."""
    for index, (name, length) in enumerate(lengths.items()):
        write_frames(root / name / "img", range(1, length + 1))
        write_rows(root / name / "groundtruth.txt", walk(length, index))
    return root


class Drifter:
    """Moves the box by the same step every frame."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.box = Box(0, 0, 1, 1)

    def init(self, frame: np.ndarray, box: Any, /) -> None:
        assert frame.dtype == np.uint8
        assert frame.shape == (HEIGHT, WIDTH, 3)
        self.box = Box.of(box)

    def update(self, frame: np.ndarray, /) -> Track:
        self.box = Box(self.box.x + self.step, self.box.y, self.box.w, self.box.h)
        return Track(self.box, 0.5)


@dataclass(frozen=True)
class Drift:
    """Makes drifters; travels between processes."""

    step: float = 0.5

    def __call__(self) -> Drifter:
        return Drifter(self.step)
