"""Make ``benchmarks/results/precision.json`` and ``.md``: what every precision costs and keeps, on every backend.

python benchmarks/precision.py CLIPS [--model DIR] [--only latency|accuracy] [--row CANDIDATE ...]
    [--tracks DATA --hold-out NAME ...]

Latency is measured in turns with the published graph, on a quiet machine; accuracy is that of whole trajectories
against fp32 in ONNX Runtime, and may be measured on a busy one. Each phase names its weights and keeps what the other
has written; with ``--row`` accuracy keeps the figures of the other rows, as long as the weights are the same.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from reports import RESULTS, script, write_json

from mvt_deploy.backends.registry import load
from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.bench.machine import describe, one_line
from mvt_deploy.bench.session import BenchSettings, run
from mvt_deploy.bundle import DEFAULT, open_bundle
from mvt_deploy.cli.bars import Bars
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.gate.clips import GateClip, from_dataset
from mvt_deploy.evaluation.gate.trajectories import judge, run_candidate, track_clip
from mvt_deploy.files import write_whole
from mvt_deploy.geometry import BGRImage
from mvt_deploy.quantize.ranges import weights_digest
from mvt_deploy.training.tracks import AnnotatedFrame, AnnotatedTrack

ROWS = (
    "ort:cpu:fp32",
    "ort:cpu:fp16",
    "ort:cpu:int8",
    "openvino:fp32",
    "openvino:bf16",
    "openvino:fp16",
    "openvino:int8",
    "trt:fp16",
    "trt:int8",
    "torch:cuda:fp16",
    "torch:cuda:bf16",
)
SIDE, WIDTH, HEIGHT = 64.0, 480, 360  # of a track's target and of its frames, in pixels


def available(model: Path, rows: Sequence[str] = ROWS) -> tuple[list[Candidate], dict[str, str]]:
    """The rows this machine can run from this bundle, and why it cannot run the others."""
    kept, refused = [], {}
    for text in rows:
        candidate = parse(text)
        try:
            load(model, candidate.backend, **candidate.options).close()
            kept.append(candidate)
        except UserError as error:
            refused[candidate.name] = str(error)
    return kept, refused


def latency(model: Path, rows: list[Candidate], seconds: float) -> dict[str, Any]:
    """What a frame costs, the rows taking turns with the published graph: see ``mvt-deploy bench``."""
    settings = BenchSettings(model=model, compare=[row.name for row in rows], seconds=seconds)
    with Bars() as bars:
        report, _ = run(settings, bars)
    return {"machine": report["machine"], "rows": {row["name"]: row for row in report["rows"]}}


def accuracy(model: Path, rows: list[Candidate], clips: list[GateClip]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The gate's figures of every row."""
    with Bars() as bars, bars.task("frames", sum(clip.count for clip in clips) * (2 * len(rows) + 1)) as frames:
        with contextlib.closing(load(model, "ort")) as backend:
            label, reference = backend.label, [track_clip(backend, clip, frames.advance) for clip in clips]
        for row in rows:
            say(row.name)
            with contextlib.closing(load(model, row.backend, **row.options)) as candidate:
                own, replayed = run_candidate(candidate, clips, reference, frames.advance)
                verdict = judge(label, reference, candidate.label, own, replayed, clips, row.precision)
            yield row.name, asdict(verdict)


def from_track(track: AnnotatedTrack) -> GateClip:
    """A track cut around its own target as a clip: the target 64 pixels wide in every frame, wandering about."""
    random = np.random.default_rng(len(track.frames))
    walk = np.cumsum(random.normal(0, 0.15 * SIDE, (len(track.frames), 2)), axis=0)
    centres = np.array([WIDTH / 2, HEIGHT / 2]) + np.clip(walk, -100, 100)
    truth = np.zeros((len(track.frames), 4))
    for i, frame in enumerate(track.frames):
        size = np.array(frame.box[2:]) * SIDE / math.sqrt(frame.box[2] * frame.box[3])
        truth[i] = (*(centres[i] - size / 2), *size)
    return GateClip(track.name, len(truth), lambda: map(_placed, track.frames, truth), truth)


def _placed(frame: AnnotatedFrame, seen: np.ndarray) -> BGRImage:
    scale = float(seen[2] / frame.box[2])
    shift = seen[:2] - scale * np.array(frame.box[:2])
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    picture = np.asarray(cv2.imread(str(frame.file), cv2.IMREAD_COLOR))
    return np.asarray(cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), np.uint8)


def markdown(found: dict[str, Any]) -> str:
    """The table, and why rows are missing."""
    fast, close = found.get("latency", {}).get("rows", {}), found.get("accuracy", {}).get("rows", {})
    lines = []
    if fast:
        lines += [f"Latency: {one_line(found['latency']['machine'])}.", ""]
    if close:
        lines += [f"Accuracy: {found['accuracy']['clips']} clips, {found['accuracy']['frames']} frames.", ""]
    lines += [
        "| row | MB | faster than published | AO | drop of AO (95%) | in the same windows | IoU with fp32's path "
        "| worst clip | gate |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys((*fast, *close)):
        lines.append("| " + " | ".join((name, *_speed(fast.get(name)), *_closeness(close.get(name)))) + " |")
    refused = found.get("refused", {})
    lines += ["", "Not run here:", "", *(f"- {name}: {reason}" for name, reason in refused.items())] if refused else []
    return "\n".join(lines) + "\n"


def _speed(row: dict[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    ratio = row["ratio"]
    return f"{row['model_mb'] or ''}", f"{ratio['value']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"


def _closeness(row: dict[str, Any] | None) -> tuple[str, ...]:
    if row is None:
        return ("",) * 6
    return (
        f"{row['ao_candidate']:.4f}",
        f"{row['ao_drop']:+.4f} ({row['ao_drop_low']:+.4f} to {row['ao_drop_high']:+.4f})",
        f"{row['same_windows_drop']:+.5f}",
        f"{row['mean_iou']:.4f}",
        f"{row['worst_clip']['name']} {row['worst_clip']['iou']:.3f}",
        "passes" if row["passed"] else "fails",
    )


def main(
    clips: Annotated[Path, typer.Argument(help="Folder of clips with ground truth.")],
    model: Annotated[Path, typer.Option(help="The bundle's folder.")] = DEFAULT,
    only: Annotated[str | None, typer.Option(help="latency or accuracy; default: both.")] = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="Only this row (repeatable).")] = None,
    tracks: Annotated[Path | None, typer.Option(help="Folder of training data with held-back tracks.")] = None,
    hold_out: Annotated[list[str] | None, typer.Option(help="Names of those tracks.")] = None,
    seconds: Annotated[float, typer.Option(help="Of measuring, for each row.")] = 10.0,
    frames: Annotated[int | None, typer.Option(help="At most so many frames of each clip.")] = None,
    results: Annotated[Path, typer.Option(help="Where the two files go.")] = RESULTS,
) -> None:
    """Measure every precision on every backend that runs here."""
    if only not in (None, "latency", "accuracy"):
        raise UserError(f"--only is latency or accuracy, not '{only}'.")
    ensure_model(model)
    file = results / "precision.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    digest = weights_digest(open_bundle(model).checkpoint())
    rows, refused = available(model, row or ROWS)
    found["refused"] = {**found.get("refused", {}), **refused} if row else refused

    def save() -> None:
        write_json(file, found)
        write_whole(file.with_suffix(".md"), markdown(found))

    if only != "accuracy":
        found["latency"] = {"checkpoint": digest, **latency(model, rows, seconds)}
        save()
    if only != "latency":
        chosen = from_dataset(open_dataset(clips), frames)
        if tracks is not None:
            from mvt_deploy.training.discover import discover

            chosen += [from_track(track) for track in discover(tracks, hold_out or []).held_back]
        total = sum(clip.count for clip in chosen)
        before = found.get("accuracy", {})
        same = row and (before.get("frames"), before.get("checkpoint")) == (total, digest)
        found["accuracy"] = {
            "checkpoint": digest,
            "machine": describe(),
            "clips": len(chosen),
            "frames": total,
            "rows": before["rows"] if same else {},
        }
        for name, figures in accuracy(model, rows, chosen):
            found["accuracy"]["rows"][name] = figures
            save()
    print(markdown(found), end="")


if __name__ == "__main__":
    script(main)
