"""Make ``benchmarks/claims.md``: every claim of MVT's authors beside a measurement on this machine, in one run.

python benchmarks/claims.py [--model DIR] [--clips DIR] [--tracks DATA --hold-out NAME ...] [--seconds N]

All rows of speed take turns on the same frames, so a busy moment of the machine meets them all alike. On a machine that
does other work all the time the ratios are distorted too: PyTorch's threads wait for each other. The fusion ablation
needs clips or held-back tracks with ground truth.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import poster
import typer
from reports import RESULTS, script, write_json

from mvt_deploy import Tracker, __version__
from mvt_deploy.backends.base import Backend
from mvt_deploy.backends.registry import load
from mvt_deploy.bench import machine, statistics
from mvt_deploy.bundle import DEFAULT, open_bundle
from mvt_deploy.cli.bars import Bars
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.bootstrap import FEWEST_FOR_A_VERDICT, Difference, compare_runs
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.gate.clips import GateClip, from_dataset, rendered
from mvt_deploy.evaluation.gate.trajectories import track_clip
from mvt_deploy.evaluation.metrics import SequenceScore
from mvt_deploy.evaluation.runner import TrackerFactory
from mvt_deploy.files import write_whole
from mvt_deploy.overlap import got10k_overlaps
from mvt_deploy.progress import Progress

HERE = Path(__file__).parent
FRAMES_A_TURN = 6
DROPPED = 2
"""First frames of a turn that do not count: they meet the caches, and the spinning threads, of another backend."""
REFERENCE = "torch cpu fp32"
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("torch", {}),
    ("ort", {}),
    ("ort", {"precision": "int8"}),
    ("openvino", {}),
    ("openvino", {"precision": "bf16"}),
    ("openvino", {"precision": "int8"}),
    ("torch", {"device": "cuda"}),
    ("trt", {"precision": "fp16"}),
    ("trt", {"precision": "int8"}),
)


@dataclass(frozen=True)
class Speed:
    """Speed of the tracker (crop, network, box) with one backend.

    Args:
        name: Label of the backend.
        fps: One over the median time of a frame.
        p95_ms: 95th percentile of the time of a frame, in milliseconds.
        ratio: How many times faster than the reference, with a 95 % interval.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    name: str
    fps: float
    p95_ms: float
    ratio: float
    low: float
    high: float


def open_rows(model: Path, threads: int | None) -> tuple[dict[str, Backend], dict[str, str]]:
    """Open every row that runs here, by label, and say why the others do not; other search sizes where they are."""
    opened: dict[str, Backend] = {}
    refused: dict[str, str] = {}
    held = open_bundle(model).search_sizes
    sizes: tuple[Any, ...] = (min(held), "auto") if len(held) > 1 else ()
    other = [("ort", {"precision": precision, "search_size": s}) for precision in ("fp32", "int8") for s in sizes]
    for name, options in [*ROWS, *other]:
        asked = " ".join(
            [name, options.get("device", "cpu" if name != "trt" else "gpu"), options.get("precision", "fp32")]
            + ([f"search {options['search_size']}"] if "search_size" in options else [])
        )
        try:
            backend = load(model, name, threads=threads if options.get("device") != "cuda" else None, **options)
            opened[asked] = backend
        except UserError as error:
            refused[asked] = str(error)
    return opened, refused


def measure_speed(backends: dict[str, Backend], seconds: float, progress: Progress) -> list[Speed]:
    """Measure all backends in turns of a few frames until the time is up."""
    clip = rendered()[0]
    frames = list(clip.frames())
    frames += frames[-2:0:-1]  # there and back, so that the target never jumps
    trackers = {name: Tracker(backend, lost=None) for name, backend in backends.items()}
    rounds: dict[str, list[list[float]]] = {name: [] for name in trackers}
    for tracker in trackers.values():
        tracker.init(frames[0], clip.truth[0].tolist())
        for frame in frames[1:4]:  # warm-up
            tracker.update(frame)
    end, place = time.perf_counter() + seconds, 4
    with progress.task("seconds of speed", seconds) as task:
        while time.perf_counter() < end or len(rounds[REFERENCE]) < 5:
            began = time.perf_counter()
            for name, tracker in trackers.items():
                times = []
                for i in range(FRAMES_A_TURN):
                    frame = frames[(place + i) % len(frames)]
                    start = time.perf_counter()
                    tracker.update(frame)
                    times.append(time.perf_counter() - start)
                rounds[name].append(times[DROPPED:])
            place += FRAMES_A_TURN
            task.advance(time.perf_counter() - began)
    rows = []
    for name, turns in rounds.items():
        all_times = np.concatenate(turns)
        ratio = statistics.ratio(rounds[REFERENCE], turns)
        fps, p95 = float(1 / np.median(all_times)), float(np.percentile(all_times, 95) * 1e3)
        rows.append(Speed(name, fps, p95, ratio.value, ratio.low, ratio.high))
    return rows


def measure_fusion(model: Path, clips: Sequence[GateClip], progress: Progress) -> dict[str, Any]:
    """AO with and without fusion (PyTorch, the same weights) over clips, and the 95 % interval of the difference."""
    scores: dict[bool, list[SequenceScore]] = {}
    with progress.task("frames of the fusion ablation", 2 * sum(clip.count for clip in clips)) as task:
        for fusion in (True, False):
            backend = TrackerFactory(model, "torch", fusion=fusion)().model
            with contextlib.closing(backend):
                scores[fusion] = []
                for clip in clips:
                    path = track_clip(backend, clip, task.advance)
                    inside = got10k_overlaps(path.boxes, clip.truth, path.size)
                    parts = {"ao": (float(inside.sum()), float(len(inside)))}
                    scores[fusion].append(SequenceScore(clip.name, len(inside), parts, {}, inside))
    difference: Difference = compare_runs(scores[True], scores[False])[0]
    return {
        "clips": len(clips),
        "frames": sum(clip.count for clip in clips),
        "ao_with": difference.first,
        "ao_without": difference.second,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "verdict": difference.verdict,
    }


def speed_claims(speeds: dict[str, Speed], refused: dict[str, str], parameters: int) -> list[tuple[str, str, str]]:
    """Rows of claim, the authors' value and ours."""

    def fps(name: str) -> str:
        if name in speeds:
            return f"{speeds[name].fps:.1f} fps"
        return f"not measured: {_first_clause(refused[name])}"

    def times(name: str, of: str = REFERENCE) -> str:
        if name not in speeds or of not in speeds:
            return "not measured"
        row, base = speeds[name], speeds[of]
        if of == REFERENCE:
            return f"{row.ratio:.2f} times ({row.low:.2f} … {row.high:.2f})"
        return f"{row.ratio / base.ratio:.2f} times"

    cpu = [s for s in speeds.values() if "cuda" not in s.name and not s.name.startswith("trt")]
    best = max(cpu, key=lambda s: s.ratio)
    no_gpu = "not measured: no GPU here"
    gpu = "torch cuda fp32" in speeds
    return [
        ("parameters", "5.5 M", f"{parameters / 1e6:.2f} M ({parameters:,})"),
        (
            "parameters of DiMP-50 (26.1 M) over MVT's",
            "4.7 times",
            f"{poster.DIMP_PARAMETERS / parameters:.2f} times (theirs over ours)",
        ),
        ("PyTorch on the CPU", "29.4 fps", fps("torch cpu fp32")),
        ("ONNX Runtime on the CPU", "70 fps", fps("ort cpu fp32")),
        ("ONNX Runtime over PyTorch, CPU, fp32", "2.38 times", times("ort cpu fp32")),
        ("the fastest on this CPU over PyTorch", "–", f"{best.name}: {best.fps:.1f} fps, {times(best.name)}"),
        ("PyTorch on a GPU", "175 fps", fps("torch cuda fp32") if gpu else no_gpu),
        ("TensorRT on a GPU", "300 fps", fps("trt gpu fp16") if "trt gpu fp16" in speeds else no_gpu),
        (
            "TensorRT over PyTorch, GPU",
            "1.71 times",
            times("trt gpu fp16", "torch cuda fp32") if gpu and "trt gpu fp16" in speeds else no_gpu,
        ),
        (
            "over DiMP-50 on a GPU (61.5 fps) and a CPU (15.0 fps)",
            "2.8 and 2 times",
            "not measured: DiMP-50 is not here",
        ),
        (
            "over STARK-Lightning with ONNX Runtime (second best)",
            "70 over 50 fps",
            "not measured: STARK-Lightning is not here",
        ),
        ("input", "template 128×128, search 256×256", "the same"),
    ]


def _first_clause(sentence: str) -> str:
    return sentence.split(":")[0].rstrip(".")


def page(report: dict[str, Any]) -> str:
    """The whole document."""
    speeds = {row["name"]: Speed(**row) for row in report["speed"]}
    busy = ""
    if max(report["load_before"], report["load_after"] - 1) > report["machine"]["cores"]:
        busy = (
            f" Other work on the machine waited for it (nice {report['nice']})."
            if report["nice"] < 0
            else " The machine did other work meanwhile: frames per second are too low, and ratios are rough."
        )
    machine_line = machine.one_line(report["machine"])
    claims = speed_claims(speeds, report["refused"], report["checkpoint"]["parameters"])
    rows = [
        (s.name, f"{s.fps:.1f}", f"{s.p95_ms:.1f}", f"{s.ratio:.2f} ({s.low:.2f} … {s.high:.2f})")
        for s in speeds.values()
    ]
    fusion = report["fusion"]
    if fusion is None:
        ours = "Not measured: no clips or held-back tracks were given."
    else:
        few = "" if fusion["verdict"] else f" (no verdict below {FEWEST_FOR_A_VERDICT} clips)"
        ours = (
            f"Measured here on {fusion['clips']} clips, {fusion['frames']} frames ({fusion['source']}), with the same "
            f"weights and nothing trained again: AO **{fusion['ao_with']:.3f} with** fusion and "
            f"**{fusion['ao_without']:.3f} without**; difference {fusion['ao_with'] - fusion['ao_without']:+.3f}, 95 % "
            f"interval {fusion['difference_low']:+.3f} … {fusion['difference_high']:+.3f}{few}. It shows what these "
            "weights owe to fusion, not what a network trained without it reaches."
        )
    versions = ", ".join(f"{name} {value}" for name, value in report["machine"]["versions"].items())
    parts = [
        "# The authors' claims, one by one",
        f"Made by `python benchmarks/claims.py` in one run. Here: {machine_line}; Python {report['python']}, "
        f"{versions}. Theirs: {poster.MACHINE}. Checkpoint `{report['checkpoint']['source']}` (in its bundle sha256 "
        f"`{report['checkpoint']['sha256'][:16]}…`).",
        f"Load while it was made: {report['load_before']:.1f} before and {report['load_after']:.1f} after, on "
        f"{report['machine']['cores']} cores. Rows take turns of {FRAMES_A_TURN} frames, so a busy "
        f"moment meets them alike.{busy}",
        "## Speed and size",
        poster.markdown(("claim", "theirs", "here"), claims),
        "## Every row that ran here",
        f"Tracker (crop, network, box) on {report['clip']}; fps is one over the median time, the ratio is to PyTorch "
        "on the CPU, the median over rounds with a 95 % bootstrap interval.",
        poster.markdown(("backend", "fps", "p95, ms", "times PyTorch"), rows),
        "\n".join(f"- {name}: not measured: {why}" for name, why in report["refused"].items()),
        "## Feature fusion",
        ours,
        "## Accuracy",
        "GOT-10k, TrackingNet, NfS30 and LaSOT: not measured, the data sets are not at hand; with them, "
        "`mvt-deploy eval` gives these figures. What was measured on other footage is in [accuracy.md](accuracy.md).",
        poster.tables(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(
    model: Annotated[Path, typer.Option("--model", help="Folder of the bundle, with int8 graphs.")] = DEFAULT,
    clips: Annotated[Path | None, typer.Option("--clips", help="Folder of clips for the fusion ablation.")] = None,
    tracks: Annotated[Path | None, typer.Option("--tracks", help="Training data with held-back tracks for it.")] = None,
    hold_out: Annotated[list[str] | None, typer.Option("--hold-out", help="Names of those tracks.")] = None,
    frames: Annotated[int, typer.Option("--frames", min=2, help="Largest number of frames per clip.")] = 30,
    seconds: Annotated[float, typer.Option("--seconds", help="Time for the measurement of speed.")] = 120.0,
    threads: Annotated[
        int | None, typer.Option("--threads", help="CPU threads; default: the runtime's choice.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", help="Folder of the JSON file.")] = RESULTS,
) -> None:
    """Measure what can be measured here, write claims.md and claims.json, and print the page."""
    ensure_model(model)
    chosen = from_dataset(open_dataset(clips), frames) if clips else []
    if tracks is not None:
        from precision import from_track

        from mvt_deploy.training.discover import discover

        chosen += [from_track(track) for track in discover(tracks, hold_out or []).held_back]
    chosen = [clip for clip in chosen if clip.count > 1]
    checkpoint = open_bundle(model).manifest.checkpoint
    report: dict[str, Any] = {
        "made_by": "python benchmarks/claims.py",
        "version": __version__,
        "machine": machine.describe(),
        "python": platform.python_version(),
        "checkpoint": {"source": checkpoint.source, "sha256": checkpoint.sha256, "parameters": checkpoint.parameters},
        "load_before": _load(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0,
        "clip": "a rendered clip of a shipped photograph, 480×360",
    }
    with Bars() as bars:
        opened, report["refused"] = open_rows(model, threads)
        try:
            report["speed"] = [asdict(row) for row in measure_speed(opened, seconds, bars)]
        finally:
            for backend in opened.values():
                backend.close()
        report["fusion"] = None
        if chosen:
            cv2.setNumThreads(0)
            where = " and ".join(["public clips"] * (clips is not None) + ["held-back tracks"] * (tracks is not None))
            report["fusion"] = {**measure_fusion(model, chosen, bars), "source": where}
    report["load_after"] = _load()
    write_json(results / "claims.json", report)
    write_whole(HERE / "claims.md", page(report))
    print(page(report), end="")
    say(f"written to {HERE / 'claims.md'} and {results / 'claims.json'}")


def _load() -> float:
    """Processes that wanted a processor over the last minute."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else float("nan")


if __name__ == "__main__":
    script(main)
