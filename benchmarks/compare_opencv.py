"""Make ``benchmarks/results/opencv*.json``: OpenCV's trackers and ours on the same clips, in one table.

KCF and CSRT are in opencv-contrib-python, which replaces opencv-python; install it in an environment of its own:

    python -m venv contrib
    contrib/bin/pip install . "opencv-contrib-python<5"
    contrib/bin/pip uninstall -y opencv-python && contrib/bin/pip install --force-reinstall "opencv-contrib-python<5"
    contrib/bin/python benchmarks/compare_opencv.py CLIPS --tracker mil --tracker kcf --tracker csrt

NanoTrack and VitTrack need the networks' ONNX files, which are not in this repository: NanoTrack's are in
HonglinChu/SiamTrackers (NanoTrack/models/nanotrackv2), VitTrack's in opencv/opencv_zoo
(models/object_tracking_vittrack).

    python benchmarks/compare_opencv.py CLIPS --tracker nano=BACKBONE.onnx,HEAD.onnx --tracker vit=VITTRACK.onnx \\
        -o benchmarks/results/opencv-networks.json

Every tracker runs once over every clip from the first frame and is never initialised again. A frame on which it reports
failure counts as IoU 0. AO follows GOT-10k's rule. Frames per second count the tracker's update alone, without reading
the frame; the trackers take turns clip by clip, so that a change in the machine's load meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import typer
from reports import RESULTS, script, write_json

from mvt_deploy import Tracker, load
from mvt_deploy.bench.machine import describe
from mvt_deploy.bench.peers import peer
from mvt_deploy.bundle import DEFAULT
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.sequence import Sequence
from mvt_deploy.files import sha256
from mvt_deploy.geometry import BGRImage
from mvt_deploy.overlap import AO_RULE, got10k_overlaps

Boxes = npt.NDArray[np.float64]
Update = Callable[[BGRImage], tuple[float, ...] | None]
Start = Callable[[BGRImage, Boxes], Update]
"""Starts a tracker on the first frame and its box; the result finds the box ``x, y, w, h`` in a frame, or None."""


def ours(bundle: Path, threads: int) -> Start:
    """MVT on ONNX Runtime in fp32, without the lost policy."""
    backend = load(bundle, backend="ort", threads=threads)

    def start(frame: BGRImage, box: Boxes) -> Update:
        tracker = Tracker(backend, lost=None)
        tracker.init(frame, tuple(box))
        return lambda image: tuple(tracker.update(image).box)

    return start


def opencv(make: Callable[[], Any]) -> Start:
    """One of OpenCV's trackers, which takes whole pixels."""

    def start(frame: BGRImage, box: Boxes) -> Update:
        cv2.setRNGSeed(0)
        tracker = make()
        tracker.init(frame, tuple(round(float(value)) for value in box))

        def update(image: BGRImage) -> tuple[float, ...] | None:
            found, guess = tracker.update(image)
            return tuple(float(value) for value in guess) if found else None

        return update

    return start


def run(start: Start, sequence: Sequence) -> tuple[Boxes, float]:
    """IoU of the frames that count, and seconds per frame in the tracker."""
    update = start(sequence.read(0), sequence.truth[0])
    boxes, seconds = np.zeros((len(sequence.frames), 4)), 0.0
    for index in range(1, len(sequence.frames)):
        frame = sequence.read(index)
        before = time.perf_counter()
        found = update(frame)
        seconds += time.perf_counter() - before
        if found is not None:  # a box of zeros overlaps nothing
            boxes[index] = found
    return got10k_overlaps(boxes, sequence.truth, sequence.frame_size()), seconds / (len(sequence.frames) - 1)


def measure(trackers: dict[str, Start], sequences: list[Sequence]) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by tracker and clip."""
    results: dict[str, dict[str, dict[str, float]]] = {name: {} for name in trackers}
    for sequence in sequences:
        for name, start in trackers.items():
            overlaps, seconds = run(start, sequence)
            results[name][sequence.name] = {
                "ao": round(float(overlaps.mean()), 4),
                "sr50": round(float((overlaps > 0.5).mean()), 4),
                "lost": round(float((overlaps == 0).mean()), 4),
                "fps": round(1 / seconds, 1),
            }
            say(f"{sequence.name:<20} {name:<5} AO {overlaps.mean():.3f}")
    return results


def means(by_clip: dict[str, dict[str, float]]) -> dict[str, float]:
    """Means over the clips; the harmonic mean for frames per second."""
    figures = {
        key: round(float(np.mean([clip[key] for clip in by_clip.values()])), 4) for key in ("ao", "sr50", "lost")
    }
    return figures | {"fps": round(1 / float(np.mean([1 / clip["fps"] for clip in by_clip.values()])), 1)}


def megabytes(files: list[Path]) -> float | None:
    """Size of a tracker's networks in 10^6 bytes; None without a network."""
    return round(sum(file.stat().st_size for file in files) / 1e6, 1) if files else None


def table(mean: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [
        "| tracker | AO | SR0.5 | share of frames with IoU 0 | frames per second | networks, MB |",
        "|---" * 6 + "|",
    ]
    for name, row in mean.items():
        size = "–" if row["megabytes"] is None else f"{row['megabytes']:.1f}"
        lines.append(
            f"| {name} | {row['ao']:.3f} | {row['sr50']:.3f} | {row['lost']:.3f} | {row['fps']:.0f} | {size} |"
        )
    return "\n".join(lines)


def main(
    clips: Annotated[Path, typer.Argument(help="A folder of clips with ground truth.")],
    tracker: Annotated[
        list[str],
        typer.Option(help="OpenCV's tracker: mil, kcf, csrt, vit=MODEL or nano=BACKBONE,HEAD (repeatable)."),
    ],
    model: Annotated[Path, typer.Option(help="Our bundle.")] = DEFAULT,
    threads: Annotated[int, typer.Option(help="CPU threads of every tracker.")] = 2,
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file to write.")] = RESULTS / "opencv.json",
) -> None:
    """Measure OpenCV's trackers and ours on clips and print one table."""
    cv2.setNumThreads(threads)
    ensure_model(model)
    trackers = {"mvt": ours(model, threads)}
    networks = {"mvt": [model / "template.onnx", model / "search.onnx"]}
    for text in tracker:
        name, make = peer(text)
        trackers[name] = opencv(make)
        networks[name] = [Path(file) for file in text.partition("=")[2].split(",") if file]
    hashes = {name: [sha256(file) for file in files] for name, files in networks.items()}
    results = measure(trackers, [s for s in open_dataset(clips).sequences if s.labelled])
    mean = {name: {**means(by_clip), "megabytes": megabytes(networks[name])} for name, by_clip in results.items()}
    write_json(
        output,
        {
            "machine": describe(),
            "opencv": cv2.__version__,
            "threads": threads,
            "rule": AO_RULE,
            "networks_sha256": hashes,
            "mean": mean,
            "clips": results,
        },
    )
    print(table(mean))


if __name__ == "__main__":
    script(main)
