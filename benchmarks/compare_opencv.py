"""Make ``benchmarks/results/opencv.json``: OpenCV's TrackerMIL, TrackerKCF and TrackerCSRT on a folder of clips.

KCF and CSRT are in opencv-contrib-python, which replaces opencv-python: give it an environment of its own.

    python -m venv contrib && contrib/bin/pip install "opencv-contrib-python<5" "numpy<3"
    contrib/bin/python benchmarks/compare_opencv.py CLIPS [--output FILE]

One run a clip from the first frame, never set back. A clip is a folder with ``groundtruth.txt`` and frames (in ``img``
or beside it). A frame on which the tracker reports failure counts as IoU 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np

NAMES = ("MIL", "KCF", "CSRT")


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two boxes ``x, y, w, h``."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    inter = float(np.prod(np.clip(high - low, 0, None)))
    return inter / (float(np.prod(first[2:]) + np.prod(second[2:])) - inter)


def run(name: str, frames: list[Path], truth: np.ndarray) -> tuple[np.ndarray, float]:
    """IoU of every frame after the first, and the seconds spent in the tracker."""
    tracker = getattr(cv2, f"Tracker{name}_create")()
    first = cv2.imread(str(frames[0]))
    tracker.init(first, tuple(round(v) for v in truth[0]))
    overlaps, seconds = [], 0.0
    for path, box in zip(frames[1:], truth[1:], strict=True):
        image = cv2.imread(str(path))
        before = time.perf_counter()
        found, guess = tracker.update(image)
        seconds += time.perf_counter() - before
        overlaps.append(overlap(np.asarray(guess, float), box) if found else 0.0)
    return np.array(overlaps), seconds


def measure(clips: Path) -> dict[str, object]:
    """Figures by tracker and clip."""
    results: dict[str, dict[str, dict[str, float]]] = {name: {} for name in NAMES}
    for folder in sorted(path.parent for path in clips.glob("*/groundtruth.txt")):
        images = folder / "img" if (folder / "img").is_dir() else folder
        frames = sorted(path for path in images.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        truth = np.loadtxt(folder / "groundtruth.txt", delimiter=",", ndmin=2)
        for name in NAMES:
            cv2.setRNGSeed(0)
            overlaps, seconds = run(name, frames, truth)
            results[name][folder.name] = {
                "ao": round(float(overlaps.mean()), 4),
                "sr50": round(float((overlaps > 0.5).mean()), 4),
                "lost": round(float((overlaps == 0).mean()), 4),
                "fps": round(len(overlaps) / seconds, 1),
            }
            print(f"{folder.name:<20} {name:<5} AO {overlaps.mean():.3f}", file=sys.stderr, flush=True)
    means = {
        name: {
            key: round(float(np.mean([clip[key] for clip in by_clip.values()])), 4) for key in ("ao", "sr50", "lost")
        }
        for name, by_clip in results.items()
    }
    return {"opencv": cv2.__version__, "threads": cv2.getNumThreads(), "mean": means, "clips": results}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of clips")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "opencv.json")
    options = parser.parse_args()
    if not any(options.clips.glob("*/groundtruth.txt")):
        parser.exit(2, f"error: {options.clips} has no folders with groundtruth.txt: give a folder of clips.\n")
    if not hasattr(cv2, "TrackerCSRT_create"):
        parser.exit(2, 'error: this OpenCV has no TrackerCSRT: install "opencv-contrib-python<5" in an environment.\n')
    figures = measure(options.clips)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures["mean"]))


if __name__ == "__main__":
    main()
