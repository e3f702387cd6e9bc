"""Make ``benchmarks/results/search-sides-<machine>.json``: what a smaller search region saves and costs here.

python benchmarks/search_sides.py --model DIR [--clips CLIPS] [--seconds S] [--results DIR]

DIR is a bundle with search graphs of several sides (``mvt-deploy export --int8 --search-size 192 --search-size 224``).
Every graph takes turns with the published one on crops of the same target. A ratio above 1 is faster than the published
graph, its interval a bootstrap over turns. All run on one thread and are measured in processor time, which a busy
machine hardly changes. With CLIPS, a folder of clips with ground truth, AO is that of whole trajectories.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ort_rewrites import Run, measure
from reports import RESULTS, script, write_for_machine

from mvt_deploy.backends.base import Backend
from mvt_deploy.backends.onnx_session import OnnxSession
from mvt_deploy.backends.registry import load
from mvt_deploy.bench.machine import describe
from mvt_deploy.bench.published import cached_graph
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.cli.options import say
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.gate.clips import from_dataset
from mvt_deploy.evaluation.gate.trajectories import track_clip
from mvt_deploy.overlap import average_overlap

ROWS = [(backend, precision) for backend in ("ort", "openvino") for precision in ("fp32", "int8")]
LAYOUTS = {
    "one graph with a dynamic side": "0 to 2 % slower than a static one in ONNX Runtime, with or without a free "
    "dimension override, and 2 to 4 % in OpenVINO, which was reshaped to the side; the weights are stored once",
    "static graphs with shared external data": "as fast as static ones; but the bundle would have to read values from "
    "files beside a graph, and browsers to fetch them apart",
    "static graphs, each with its own weights": "taken: nothing is lost, and --for leaves out what a device does not "
    "need",
}
"""Ways to store graphs of several sides, as measured once with the prototype of each (interleaved, processor time)."""


def published(bundle: Bundle) -> Run:
    """One search of the published graph."""
    pair = photograph_pairs(1)
    session = OnnxSession(cached_graph(bundle), threads=1)
    images = {"template": pair.template, "search": pair.search}
    given = {
        name: np.ascontiguousarray(crop[..., ::-1].transpose(0, 3, 1, 2) / np.float32(255))
        for name, crop in images.items()
    }
    return lambda: session.run(given)


def search(backend: Backend) -> Run:
    """One search of a backend, on the same target at the backend's side."""
    pair = photograph_pairs(1, search_size=backend.spec.search_size)
    features = backend.template(pair.template)
    return lambda: backend.search(pair.search, features)


def opened(bundle: Bundle, stack: contextlib.ExitStack) -> Iterator[tuple[str, Backend]]:
    """Every backend, precision and side that the bundle holds and that runs here."""
    for backend, precision in ROWS:
        for side in bundle.search_sizes:
            name = f"{backend}:{precision}:s{side}"
            try:
                model = load(bundle.folder, backend, precision=precision, threads=1, search_size=side)
            except UserError as error:
                say(f"{name}: {error}")
                continue
            stack.callback(model.close)
            yield name, model


def overlap(model: Backend, clips: Path) -> dict[str, Any]:
    """AO of every clip, and their mean."""
    each = {}
    for clip in from_dataset(open_dataset(clips)):
        path = track_clip(model, clip)
        each[clip.name] = average_overlap(path.boxes, clip.truth, path.size)
    return {"ao": float(np.mean([value for value in each.values() if value is not None])), "clips": each}


def main(
    model: Annotated[Path, typer.Option("--model", help="Folder of a bundle with search graphs of several sides.")],
    clips: Annotated[Path | None, typer.Option("--clips", help="Folder of clips with ground truth, for AO.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Measuring time per graph, in seconds.")] = 6.0,
    results: Annotated[Path, typer.Option("--results", help="Folder that the results are written to.")] = RESULTS,
) -> None:
    """Measure the sides of a bundle on this machine."""
    bundle = open_bundle(model)
    with contextlib.ExitStack() as stack:
        models = dict(opened(bundle, stack))
        runs = {"published": published(bundle), **{name: search(one) for name, one in models.items()}}
        say(f"measuring {len(runs)} graphs")
        rows = measure(runs, seconds, time.process_time, shortest=False)
        if clips:
            for name, one in models.items():
                say(f"tracking with {name}")
                rows[name].update(overlap(one, clips))
    for name, row in rows.items():
        r, ao = row["ratio"], f"  AO {row['ao']:.3f}" if "ao" in row else ""
        say(f"{name:22} {r['value']:.3f} ({r['low']:.3f}-{r['high']:.3f})  {row['median_ms']:.2f} ms{ao}")
    machine = describe()
    report = {
        "made_by": "benchmarks/search_sides.py",
        "machine": machine,
        "checkpoint": bundle.manifest.checkpoint.sha256,
        "measured": "one thread, processor time",
        "layouts": LAYOUTS,
        "rows": rows,
    }
    write_for_machine(results, "search-sides", report)


if __name__ == "__main__":
    script(main)
