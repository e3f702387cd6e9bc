"""What choosing the search size per frame gives: accuracy and speed of ``auto`` beside fixed sizes, in one run.

python benchmarks/search_policy.py CLIPS [--tracks DATA --hold-out-file DATA/held-back.txt] [--row ort:256]...

CLIPS is a folder of sequences with ground truth. Every row (backend[:precision]:size) follows every clip; the rows take
turns frame by frame, so a busy machine changes times but not their ratios. With one thread, processor time is measured.
With ``--tracks``, tracks of a folder of training data that were held back are followed as well. Their frames are cut
around the target, which therefore stands still in them, so each is moved by a drawn walk: steps of 0.15 target sides
(deviation), pulled back by a fifth; ``--seed`` draws other walks. With ``--motion``, rows with ``auto`` are followed
once per threshold.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import typer
from reports import RESULTS, machine_name, script, write_json

from mvt_deploy import SearchPolicy, Tracker, load
from mvt_deploy.bench import machine
from mvt_deploy.bundle import open_bundle
from mvt_deploy.cli.options import ensure_model, parse_search_size, say
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.bootstrap import compare_runs
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.metrics import SequenceScore
from mvt_deploy.geometry import BGRImage
from mvt_deploy.overlap import got10k_overlaps

STEP, PULL = 0.15, 0.8  # of the drawn walk, in target sides; share of the way that is left after a step
OPERATIONS = {128: 0.25, 192: 0.56, 224: 0.77, 256: 1.0, 288: 1.27, 320: 1.58}
"""Multiplications of a search graph in relation to the one of side 256."""

Shown = tuple[str, list[BGRImage], npt.NDArray[np.float64]]
"""Name, frames and truth ``[n, 4]`` of a clip."""


@dataclass
class Row:
    """One row: its tracker, and what it did.

    Args:
        name: The row as it was asked for.
        tracker: A tracker of its own.
        scores: Overlaps of every clip, by kind of clip.
        seconds: Time of every frame after a clip's first, on the clips.
        sides: How often each side was used, by kind of clip.
    """

    name: str
    tracker: Tracker
    scores: dict[str, list[SequenceScore]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    sides: dict[str, Counter[int]] = field(default_factory=dict)

    @classmethod
    def open(cls, text: str, model: Path, threads: int, motions: list[float]) -> Iterator[Row]:
        """Open ``backend[:precision]:size``, with ``auto`` once per threshold of motion."""
        parts = text.split(":")
        if not 2 <= len(parts) <= 3:
            raise UserError(f"a row is backend[:precision]:size, such as ort:int8:auto, not '{text}'.")
        precision = parts[1] if len(parts) == 3 else None
        size = parse_search_size(parts[-1])
        opened = load(model, parts[0], precision=precision, threads=threads, search_size=size)
        if size != "auto" or not motions:
            yield cls(text, Tracker(opened))
            return
        for motion in motions:
            yield cls(f"{text}, motion {motion:g}", Tracker(opened, search=SearchPolicy(motion=motion)))


def clips_of(folder: Path) -> Iterator[Shown]:
    """The sequences of a folder."""
    for sequence in open_dataset(folder).sequences:
        yield sequence.name, [sequence.read(i) for i in range(len(sequence.frames))], np.asarray(sequence.truth)


def tracks_of(data: Path, hold_out: list[str], seed: int) -> Iterator[Shown]:
    """The tracks that were held back, moved by a drawn walk."""
    from mvt_deploy.training.discover import discover

    for number, track in enumerate(discover(data, hold_out).held_back):
        random, shift = np.random.default_rng([seed, number]), np.zeros(2)
        frames, truth = [], []
        for at, one in enumerate(track.frames):
            box = np.array(one.box, np.float64)
            shift = PULL * shift + random.normal(0, STEP, 2) * math.sqrt(box[2] * box[3]) * (at > 0)
            x, y = np.rint(shift)
            move = np.array([[1, 0, x], [0, 1, y]], np.float64)
            image = cv2.imread(str(one.file))
            if image is None:
                raise UserError(f"'{one.file}' cannot be read.")
            size = (image.shape[1], image.shape[0])
            frames.append(np.asarray(cv2.warpAffine(image, move, size, borderMode=cv2.BORDER_REPLICATE), np.uint8))
            truth.append(box + np.array([x, y, 0, 0]))
        if len(frames) > 1:
            yield track.name, frames, np.array(truth)


def follow(rows: list[Row], shown: Iterator[Shown], kind: str, clock: Callable[[], float]) -> None:
    """Let every row follow every clip, in turns frame by frame."""
    for number, (name, frames, truth) in enumerate(shown):
        boxes: dict[str, list[tuple[float, ...]]] = {row.name: [tuple(truth[0])] for row in rows}
        for row in rows:
            row.tracker.init(frames[0], truth[0])
        for index, frame in enumerate(frames[1:]):
            turn = (index + number) % len(rows)
            for row in rows[turn:] + rows[:turn]:
                began = clock()
                track = row.tracker.update(frame)
                row.seconds += [clock() - began] if kind == "clips" else []
                boxes[row.name].append(track.box)
                row.sides.setdefault(kind, Counter()).update(row.tracker.search_sizes)
        size = (frames[0].shape[1], frames[0].shape[0])
        for row in rows:
            overlaps = got10k_overlaps(np.array(boxes[row.name]), truth, size)
            parts = {"ao_by_sequence": (float(overlaps.mean()), 1.0)}
            row.scores.setdefault(kind, []).append(SequenceScore(name, len(overlaps), parts, {}, overlaps))
        say(f"{name}: " + ", ".join(f"{row.name} {row.scores[kind][-1].overlaps.mean():.3f}" for row in rows))


def difference(row: Row, first: Row, kind: str) -> dict[str, Any]:
    """AO over all clips of a kind, and its difference from the first row's with a 95 % interval over clips."""
    found = compare_runs(row.scores[kind], first.scores[kind])[0]
    values = {"ao": found.first, "difference": found.difference, "low": found.low, "high": found.high}
    return {**{key: round(value, 4) for key, value in values.items()}, "clips": found.sequences}


def report(row: Row, first: Row) -> dict[str, Any]:
    """What a row did, and how it compares with the first one, frame by frame."""
    ratios = np.array(first.seconds) / np.array(row.seconds)
    median, high, highest = np.percentile(row.seconds, (50, 95, 99)) * 1e3
    return {
        "row": row.name,
        "files": [file.name for file in row.tracker.model.files],
        "ao": {kind: difference(row, first, kind) for kind in row.scores},
        "operations": {
            kind: round(sum(OPERATIONS.get(s, math.nan) * n for s, n in sides.items()) / sides.total(), 3)
            for kind, sides in row.sides.items()
        },
        "sides": {kind: {str(s): n for s, n in sorted(sides.items())} for kind, sides in row.sides.items()},
        "ms": {"p50": round(float(median), 2), "p95": round(float(high), 2), "p99": round(float(highest), 2)},
        "times_faster_than_first": {
            "of_sums": round(sum(first.seconds) / sum(row.seconds), 3),
            "median_of_frames": round(float(np.median(ratios)), 3),
        },
        "clips": {k: {s.name: round(float(s.overlaps.mean()), 4) for s in scores} for k, scores in row.scores.items()},
    }


def main(
    clips: Annotated[Path, typer.Argument(help="Folder of sequences with ground truth.")],
    model: Annotated[Path | None, typer.Option("--model", help="Folder of a bundle that holds the sizes.")] = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="backend[:precision]:size; repeatable.")] = None,
    tracks: Annotated[Path | None, typer.Option("--tracks", help="Folder of training data.")] = None,
    hold_out: Annotated[list[str] | None, typer.Option("--hold-out", help="Tracks by name or pattern.")] = None,
    hold_out_file: Annotated[
        Path | None, typer.Option("--hold-out-file", help="Text file with one pattern per line.")
    ] = None,
    motion: Annotated[
        list[float] | None,
        typer.Option("--motion", help="Threshold of motion of rows with auto; repeatable. Default: the tracker's."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", help="CPU threads of the network.")] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the drawn walks.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write.")] = None,
) -> None:
    """Measure fixed search sizes and auto."""
    folder = ensure_model(model)
    names = row or ["ort:256", "ort:192", "ort:auto"]
    rows = [one for name in names for one in Row.open(name, folder, threads, motion or [])]
    clock = time.process_time if threads == 1 else time.perf_counter
    if tracks is not None:
        patterns = [*(hold_out or []), *(hold_out_file.read_text(encoding="utf-8").split() if hold_out_file else [])]
        follow(rows, tracks_of(tracks, patterns, seed), "tracks", clock)
    follow(rows, clips_of(clips), "clips", clock)
    described = machine.describe()
    policy = asdict(SearchPolicy())
    reports = [report(one, rows[0]) for one in rows]
    found = {
        "made_by": "benchmarks/search_policy.py",
        "machine": described,
        "checkpoint": open_bundle(folder).manifest.checkpoint.sha256,
        "threads": threads,
        "measured": "processor time" if threads == 1 else "wall-clock time",
        "seed": seed,
        "policy": policy,
        "rows": reports,
    }
    write_json(output or RESULTS / f"search-policy-{machine_name(described)}.json", found)
    for one in reports:
        say(f"{one['row']}: AO {one['ao']}, operations {one['operations']}, {one['times_faster_than_first']}")


if __name__ == "__main__":
    script(main)
