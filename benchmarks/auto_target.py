"""How well does the search for what moves (``track --auto``) find the target, and does refining its box help?

    python benchmarks/auto_target.py CLIPS [--video FILE x,y,w,h]... [--model models/mvt] [--json report.json]

CLIPS is a folder of sequences with ground truth (``img/`` and ``groundtruth.txt`` each); a video's true first box is
given by hand. Reported is the IoU with the true first box: of the motion alone; fitted to the appearance, which is what
``--auto`` takes; after the network's own box in the first frame, averaged with the motion's twice; and after tracking
the motion's box for half a second and back.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mvt_deploy import Box, Tracker, groundtruth, load
from mvt_deploy.backends.base import Backend
from mvt_deploy.bench.machine import describe
from mvt_deploy.geometry import BGRImage, iou
from mvt_deploy.video.appearance import fit_to_appearance
from mvt_deploy.video.motion import prominent_mover, shrink
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import LOOK_SECONDS

BACK = 12
"""Frames tracked forth and back."""


def by_motion(frames: list[BGRImage]) -> Box | None:
    """The most prominent moving object, by its motion alone."""
    height, width = frames[0].shape[:2]
    mover = prominent_mover([shrink(image) for image in frames], width, height)
    return mover.box if mover else None


def by_network(model: Backend, image: BGRImage, box: Box) -> Box:
    """The mean of a box and the network's answer in the same frame, twice."""
    for _ in range(2):
        tracker = Tracker(model, lost=None)
        tracker.init(image, box)
        box = Box(*((np.array(box) + tracker.update(image).box) / 2).tolist())
    return box


def there_and_back(model: Backend, frames: list[BGRImage], box: Box) -> Box:
    """The box of the first frame after tracking forth, starting anew, and tracking back."""
    shown = frames[:BACK]
    for images in (shown, shown[::-1]):
        tracker = Tracker(model, lost=None)
        tracker.init(images[0], box)
        for image in images[1:]:
            box = tracker.update(image).box
    return box


def cases(clips: Path, videos: list[list[str]]) -> Iterator[tuple[str, Path, Box]]:
    """Name, source and true first box."""
    for truth in sorted(clips.glob("*/groundtruth.txt")):
        yield truth.parent.name, truth.parent / "img", Box.of(groundtruth.read(truth)[0])
    for file, box in videos:
        yield Path(file).name, Path(file), groundtruth.parse_box(box)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--video", nargs=2, action="append", default=[], metavar=("FILE", "BOX"))
    parser.add_argument("--model", type=Path, default=Path("models/mvt"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, rows = load(options.model), []
    for name, place, truth in cases(options.clips, options.video):
        frames = []
        for frame in open_source(place):
            frames.append(frame.image)
            if frame.time >= LOOK_SECONDS:
                break
        box = by_motion(frames)
        if box is None:
            print(f"{name}: nothing found")
            rows.append({"name": name, "found": False})
            continue
        boxes = {
            "motion": box,
            "appearance": fit_to_appearance(frames[0], box),
            "network": by_network(model, frames[0], box),
            "there_and_back": there_and_back(model, frames, box),
        }
        found = {way: round(float(iou(made, truth)), 3) for way, made in boxes.items()}
        rows.append({"name": name, "found": True, **found})
        print(f"{name}: {found}", flush=True)
    means = {
        way: round(float(np.mean([row.get(way, 0.0) for row in rows])), 3)
        for way in ("motion", "appearance", "network", "there_and_back")
    }
    print(f"mean: {means}")
    if options.json:
        report = {"machine": describe(), "iou_with_true_first_box": rows, "mean": means}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
