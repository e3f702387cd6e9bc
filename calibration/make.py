"""Make the default calibration set and its cache of activation ranges, from nothing but what this repository holds.

python calibration/make.py

Clips: the demo's rendered scene with four seeds, and a hand-held camera wandering over each of the photographs, twice.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import cv2
import numpy as np

from mvt_deploy import load
from mvt_deploy.assets import asset
from mvt_deploy.export import export_bundle
from mvt_deploy.geometry import BGRImage, Box
from mvt_deploy.quantize.build import build_bundle
from mvt_deploy.quantize.calibration_set import write_crops
from mvt_deploy.quantize.ranges import CACHE
from mvt_deploy.quantize.record import ClipTarget, record
from mvt_deploy.quantize.source import Int8Options
from mvt_deploy.video.demo import render
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import choose_targets

FOLDER = Path(__file__).parent / "default"
WIDTH, HEIGHT, FRAMES = 640, 480, 60


def wander(photograph: Path, folder: Path, seed: int) -> Path:
    """A folder of frames of a camera that moves, turns and zooms over a photograph, with ``groundtruth.txt``."""
    image = np.asarray(cv2.imread(str(photograph), cv2.IMREAD_COLOR), np.uint8)
    random = np.random.default_rng(seed)
    height, width = image.shape[:2]
    w, h = random.uniform(0.15, 0.3, 2) * (width, height)
    x, y = random.uniform(0.2, 0.5) * width, random.uniform(0.2, 0.5) * height
    corners = np.array([[x, y], [x + w, y], [x, y + h], [x + w, y + h]])
    phase = random.uniform(0, 2 * math.pi, 4)
    clip = folder / f"{photograph.stem}-{seed}"
    clip.mkdir()
    lines = []
    for i in range(FRAMES):
        t = 4 * math.pi * i / FRAMES
        zoom = 1.3 * HEIGHT / height * math.exp(0.3 * math.sin(t / 2 + phase[0]))
        turn = cv2.getRotationMatrix2D((x + w / 2, y + h / 2), 8 * math.sin(t / 2 + phase[1]), zoom)
        turn[:, 2] += (
            WIDTH / 2 - x - w / 2 + 90 * math.sin(t + phase[2]),
            HEIGHT / 2 - y - h / 2 + 70 * math.sin(t + phase[3]),
        )
        frame = _exposed(cv2.warpAffine(image, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101), t, random)
        cv2.imwrite(str(clip / f"{i:03}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 92])
        moved = corners @ turn[:, :2].T + turn[:, 2]
        low, size = moved.min(0), np.ptp(moved, axis=0)
        lines.append(",".join(f"{v:.2f}" for v in (*low, *size)))
    (clip / "groundtruth.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    return clip


def _exposed(frame: np.ndarray, t: float, random: np.random.Generator) -> BGRImage:
    """The frame with a camera's changing exposure and its noise."""
    noise = random.normal(0, 3, frame.shape)
    return np.asarray(np.clip(frame * (1 + 0.25 * math.sin(0.7 * t)) + noise, 0, 255), np.uint8)


def main() -> None:
    """Record the set, then export once so that the ranges are measured and kept beside it."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        clips = [render(place / f"scene-{seed}.avi", seed) for seed in (7, 11, 23, 42)]
        for photograph in sorted(asset("photographs").glob("*.jpg")):
            clips += [wander(photograph, place, seed) for seed in (1, 2)]
        bundle = export_bundle(None, place / "fp32")
        targets = []
        for clip in clips:
            source = open_source(clip)
            targets.append(ClipTarget(source, Box.of(choose_targets(source).boxes[0].as_tuple())))
        recordings = record(load(bundle.folder), targets, 72)
        write_crops(FOLDER, recordings)
        build_bundle(None, place / "int8", int8=Int8Options(FOLDER))
    print(f"{len(recordings)} pairs of {len(clips)} clips in {FOLDER}, ranges in {FOLDER / CACHE}")


if __name__ == "__main__":
    main()
