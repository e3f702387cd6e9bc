"""A tiny set of training data that the tests make themselves: photographs with masks, tracks, a sequence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def scene(rng: np.random.Generator, height: int = 120, width: int = 160) -> np.ndarray:
    """A blurred random texture, BGR uint8."""
    coarse = rng.integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def draw(image: np.ndarray, centre: tuple[int, int], radius: int) -> None:
    """A disc with a bright bar."""
    cv2.circle(image, centre, radius, (30, 60, 230), -1)
    cv2.rectangle(
        image, (centre[0] - radius // 2, centre[1] - 3), (centre[0] + radius // 2, centre[1] + 3), (250, 250, 90), -1
    )


def make_photographs(folder: Path, count: int = 3) -> None:
    """Photographs with a label mask."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        image, mask = scene(rng), np.zeros((120, 160), np.uint8)
        draw(image, (60 + 10 * i, 60), 25)
        cv2.circle(mask, (60 + 10 * i, 60), 25, 3, -1)
        cv2.imwrite(str(folder / f"{i}.jpg"), image)
        cv2.imwrite(str(folder / f"{i}.png"), mask)


def make_tracks(folder: Path, names: tuple[str, ...] = ("ball", "other"), frames: int = 5) -> None:
    """Tracks of a disc that moves to the right."""
    rng = np.random.default_rng(1)
    rows: dict[str, Any] = {}
    for name in names:
        (folder / name).mkdir(parents=True)
        background = scene(rng, 180, 180)
        rows[name] = []
        for i in range(frames):
            image = background.copy()
            draw(image, (80 + 4 * i, 90), 15)
            file = f"{name}/{10 * i:05}.jpg"
            cv2.imwrite(str(folder / file), image)
            rows[name].append([file, 65 + 4 * i, 75, 31, 31])
    (folder / "tracks.json").write_text(json.dumps(rows))


def make_sequence(folder: Path, absent: tuple[int, ...] = ()) -> None:
    """A GOT-10k sequence of four frames."""
    rng = np.random.default_rng(2)
    folder.mkdir(parents=True)
    background = scene(rng)
    for i in range(4):
        image = background.copy()
        draw(image, (50 + 3 * i, 60), 12)
        cv2.imwrite(str(folder / f"{i + 1:08}.jpg"), image)
    (folder / "groundtruth.txt").write_text("".join(f"{38 + 3 * i:.4f},48.0000,25.0000,25.0000\n" for i in range(4)))
    (folder / "absence.label").write_text("".join(f"{int(i in absent)}\n" for i in range(4)))


def make_data(folder: Path) -> Path:
    """All kinds in one folder."""
    make_photographs(folder / "photographs")
    make_tracks(folder / "video")
    make_sequence(folder / "got10k" / "train" / "GOT-10k_Train_000001")
    return folder
