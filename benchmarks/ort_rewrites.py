"""Make ``benchmarks/results/ort-rewrites-<machine>.json``: what the rewrites for ONNX Runtime's CPU give here.

python benchmarks/ort_rewrites.py [--model DIR] [--seconds S] [--results DIR]

The published graph, and the search graph without and with the rewrites, take turns in ONNX Runtime's default session
on the same crop. A ratio above 1 is faster than the published graph; its interval is a bootstrap over turns. With one
thread, processor time is measured, which a busy machine hardly changes. With one thread per core, it is the wall-clock
time of the shortest run of each turn, which a busy machine changes least.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from reports import RESULTS, script, write_for_machine

from mvt_deploy.backends.onnx_session import OnnxSession
from mvt_deploy.bench.machine import describe
from mvt_deploy.bench.published import cached_graph
from mvt_deploy.bench.statistics import ratio
from mvt_deploy.bundle import DEFAULT, Bundle, open_bundle
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.export.graphs import split
from mvt_deploy.export.rewrites import ORT, PORTABLE, apply
from mvt_deploy.export.to_onnx import example_inputs, to_onnx
from mvt_deploy.network import load_checkpoint

LAYOUTS = ("flatten_tokens", "channels_last_tokens")
SETS: dict[str, Collection[str]] = {
    "portable": PORTABLE,
    "with fused attention": [name for name in ORT if name not in LAYOUTS],
    "with flat tokens": [name for name in ORT if name != LAYOUTS[1]],
    "all": ORT,
}
EXPECTED = {
    "flatten_tokens": "1.04: no SkipLayerNormalization (1.1 of 31 ms), ReLUs inside their Gemm, 60 reshapes and 6 "
    "splits fewer",
    "channels_last_tokens": "1.02: the generic transposes take 0.9 of 31 ms, moves of whole cells should take 0.2",
}
UNDONE = {
    "the fusing convolution as a sum of two": "expected 1.01 (no concatenation, no reordering of the image's half); "
    "measured 1.00: the second convolution reads and adds the first one's result",
    "tables for the peak's cells, patch and mask": "expected 1.002 (12 integer operators fewer); measured 1.00",
    "Add and LayerNormalization as SkipLayerNormalization": "expected 1.02; the operator took 0.86 ms where Add and "
    "LayerNormalization take 0.12, so the rewrites keep the runtime from making it",
}
TURN, PAUSE = 5, 0.004  # runs per turn; pause between turns in seconds, so that the last turn's threads stop spinning
Run = Callable[[], Any]


def graphs(bundle: Bundle, folder: Path) -> dict[str, Path]:
    """The search graph with each set of rewrites, written into a folder."""
    model = load_checkpoint(bundle.checkpoint())
    paths: dict[str, Path] = {}
    for name, rewrites in SETS.items():
        pair = split(model)
        apply(pair, rewrites)
        paths[name] = folder / f"{len(paths)}.onnx"
        say(f"exporting the search graph: {name}")
        to_onnx(pair.search, example_inputs(*pair)[1], paths[name])
    return paths


def runs(bundle: Bundle, paths: dict[str, Path], threads: int | None) -> dict[str, Run]:
    """One search of each graph, the published one first; ``threads`` None is one thread per core."""
    pair = photograph_pairs(1)
    features = OnnxSession(bundle.path(bundle.graphs("portable").template), threads=threads).run(
        {"crop": pair.template}
    )
    images = {"template": pair.template, "search": pair.search}
    given = {
        name: np.ascontiguousarray(crop[..., ::-1].transpose(0, 3, 1, 2) / np.float32(255))
        for name, crop in images.items()
    }
    session = OnnxSession(cached_graph(bundle), threads=threads)
    made: dict[str, Run] = {"published": lambda: session.run(given)}
    for name, path in paths.items():
        search = OnnxSession(path, threads=threads)
        made[name] = partial(search.run, {"crop": pair.search, **features}, ("box", "score"))
    return made


def measure(candidates: dict[str, Run], seconds: float, clock: Callable[[], float], shortest: bool) -> dict[str, Any]:
    """Ratios to the first candidate and median milliseconds, of all runs or of the ``shortest`` of each turn."""
    turns: dict[str, list[list[float]]] = {name: [] for name in candidates}
    random = np.random.default_rng(0)
    end = time.monotonic() + seconds * len(candidates)
    for run in candidates.values():
        for _ in range(2 * TURN):
            run()
    while time.monotonic() < end:
        for i in random.permutation(len(candidates)):
            name = list(candidates)[i]
            time.sleep(PAUSE)
            candidates[name]()  # cold caches
            turn = [timed(candidates[name], clock) for _ in range(TURN)]
            turns[name].append([min(turn)] if shortest else turn)
    first = next(iter(turns.values()))
    return {
        name: {
            "ratio": asdict(ratio(first, spent)),
            "median_ms": 1e3 * float(np.median(spent)),
            "least_ms": 1e3 * float(np.min(spent)),
            "turns": len(spent),
        }
        for name, spent in turns.items()
    }


def timed(run: Run, clock: Callable[[], float]) -> float:
    """Seconds of one run."""
    began = clock()
    run()
    return clock() - began


def main(
    model: Annotated[Path, typer.Option("--model", help="Folder of the bundle.")] = DEFAULT,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="Measuring time per graph in seconds, spent twice.")
    ] = 6.0,
    results: Annotated[Path, typer.Option("--results", help="Folder that the results are written to.")] = RESULTS,
    keep: Annotated[
        Path | None, typer.Option("--graphs", help="Folder that keeps the exported graphs, or holds them already.")
    ] = None,
) -> None:
    """Measure the rewrites on this machine."""
    ensure_model(model)
    bundle = open_bundle(model)
    with tempfile.TemporaryDirectory() as folder:
        place = keep or Path(folder)
        stored = {name: place / f"{i}.onnx" for i, name in enumerate(SETS)}
        paths = stored if all(p.is_file() for p in stored.values()) else graphs(bundle, place)
        say("measuring with one thread")
        one = measure(runs(bundle, paths, 1), seconds, time.thread_time, shortest=False)
        say("measuring with one thread per core")
        cores = measure(runs(bundle, paths, None), seconds, time.perf_counter, shortest=True)
    report = {
        "machine": describe(),
        "expected": EXPECTED,
        "undone": UNDONE,
        "one_thread_processor_time": one,
        "thread_a_core_wall_clock": cores,
    }
    for title, rows in (("one thread", one), ("one thread per core", cores)):
        for name, row in rows.items():
            r = row["ratio"]
            say(
                f"{title:16}{name:22} {r['value']:.3f} ({r['low']:.3f}-{r['high']:.3f})  {row['median_ms']:.2f} ms"
                f"  {row['turns']} turns"
            )
    write_for_machine(results, "ort-rewrites", report)


if __name__ == "__main__":
    script(main)
