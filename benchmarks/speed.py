"""Make ``benchmarks/results/cpu-<machine>.json`` and ``.md``: what a frame costs here, beside the published graph.

python benchmarks/speed.py [--model DIR] [--seconds S] [--results DIR]
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from mvt_deploy.backends.registry import load
from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.bench.clip import Clip, encode, photograph
from mvt_deploy.bench.report import Report, markdown, warnings
from mvt_deploy.bench.session import Settings, run
from mvt_deploy.bundle import DEFAULT, open_bundle
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.results import write_whole
from mvt_deploy.export.graphs import split
from mvt_deploy.export.rewrites import PORTABLE, apply
from mvt_deploy.export.to_onnx import example_inputs
from mvt_deploy.network import load_checkpoint
from mvt_deploy.tracker import Tracker
from mvt_deploy.video.session import Outputs, track_source
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import choose_targets

RESULTS = Path(__file__).parent / "results"
CANDIDATES = (
    "ort:cpu:fp32",
    "ort:cpu:fp32:t1",
    "openvino:fp32",
    "openvino:bf16",
    "openvino:bf16:t1",
    "ort:openvino:fp32",
    "ort:openvino:bf16",
    "ort:openvino:bf16:t1",
)
FRAMES = 300  # of the clip that is tracked end to end


def available(model: Path) -> tuple[list[str], dict[str, str]]:
    """The candidates that open here, and why the others do not."""
    opens: list[str] = []
    refused: dict[str, str] = {}
    for text in CANDIDATES:
        candidate = parse(text)
        try:
            load(model, candidate.backend, **candidate.options).close()
            opens.append(text)
        except UserError as error:
            refused[text] = str(error)
    return opens, refused


def end_to_end(row: dict[str, Any], model: Path, clip: Clip) -> dict[str, float | str]:
    """``mvt-deploy track`` on 1280x720 with a row's backend: decoding, tracking, no video written.

    Raises:
        UserError: this OpenCV cannot write the clip.
    """
    candidate = Candidate(*(row[key] for key in ("backend", "provider", "precision", "threads")))
    box = ",".join(str(v) for v in clip.box)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "clip.mp4"
        if not encode((clip.frame(i) for i in range(FRAMES)), video):
            raise UserError("this OpenCV cannot write an mp4 video: pip install --force-reinstall opencv-python.")
        source = open_source(video)
        targets = choose_targets(source, [box])
        backend = load(model, candidate.backend, **candidate.options)
        outcome = track_source(source, targets, Tracker(backend), Outputs()).outcome
    return {
        "candidate": row["name"],
        "fps": outcome.fps,
        "network_fps": outcome.network_fps,
        "share_of_network": outcome.fps / outcome.network_fps,
    }


def arithmetic(model: Path, network_ms: dict[str, float]) -> dict[str, Any]:
    """The arithmetic limit: operations of a search over the highest rate this machine reached on a matrix product.

    The rate is measured after the rows, not in turns with them: on a busy machine the shares mean nothing.
    """
    graphs = split(load_checkpoint(open_bundle(model).checkpoint()))
    published = _operations(graphs.search, example_inputs(*graphs)[1])
    apply(graphs, list(PORTABLE))
    operations = _operations(graphs.search, example_inputs(*graphs)[1])
    peak = {"fp32": _peak(torch.float32), "bf16": _peak(torch.bfloat16)}
    return {
        "operations_per_search": {"unrewritten": published, "rewritten": operations},
        "peak_gflops": {precision: rate / 1e9 for precision, rate in peak.items()},
        "threads": torch.get_num_threads(),
        "limit_ms": {precision: 1e3 * operations / rate for precision, rate in peak.items()},
        "share_of_limit": {
            name: 1e3 * operations / peak["bf16" if "bf16" in name else "fp32"] / ms for name, ms in network_ms.items()
        },
    }


def _operations(graph: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    """Additions and multiplications for one target: the example inputs hold several."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        graph(*inputs)
    return int(counter.get_total_flops()) // len(inputs[0])


def _peak(dtype: torch.dtype, side: int = 1536, seconds: float = 2.0) -> float:
    """Operations a second of the fastest of several square matrix products."""
    a, b = (torch.rand(side, side).to(dtype) for _ in range(2))
    best, began = float("inf"), time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            torch.mm(a, b)
            best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def page(report: Report) -> str:
    """The Markdown beside the JSON."""
    ends, limit = report["end_to_end"], report["arithmetic"]
    lines = [
        "# Speed",
        f"Made by `benchmarks/speed.py`. Ratios are to the published graph, measured in turns with it in one run.\n\n"
        f"{markdown(report).rstrip()}",
        f"`mvt-deploy track` on 1280x720 with {ends['candidate']}: **{ends['fps']:.1f} fps** end to end, "
        f"{ends['share_of_network']:.0%} of the network's own {ends['network_fps']:.1f} fps.",
        f"A search takes {limit['operations_per_search']['rewritten'] / 1e9:.2f} G operations "
        f"({limit['operations_per_search']['unrewritten'] / 1e9:.2f} G before the rewrites). This machine reached "
        + " and ".join(f"{rate:.0f} GFLOP/s in {p}" for p, rate in limit["peak_gflops"].items())
        + f" on a matrix product with {limit['threads']} threads, after the rows; at that rate a search takes "
        + " and ".join(f"{ms:.1f} ms in {p}" for p, ms in limit["limit_ms"].items())
        + ". Share of that rate reached, over the network: "
        + ", ".join(f"{name} {share:.0%}" for name, share in limit["share_of_limit"].items())
        + ".",
    ]
    if report["not_available"]:
        lines.append(
            "Not available where this was made:\n\n"
            + "\n".join(f"- {name}: {why}" for name, why in report["not_available"].items())
        )
    if noisy := warnings(report):
        lines.append("\n".join(f"- {warning}" for warning in noisy))
    return "\n\n".join(lines) + "\n"


def machine_name(report: Report) -> str:
    """Processor and cores, fit for a file's name."""
    text = f"{report['machine']['cpu']} {report['machine']['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def main(
    model: Annotated[Path, typer.Option("--model", help="The bundle.")] = DEFAULT,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="At least so long for each row.")] = 3.0,
    results: Annotated[Path, typer.Option("--results", help="Where the two files go.")] = RESULTS,
) -> None:
    """Measure every CPU candidate that runs here."""
    ensure_model(model)
    candidates, refused = available(model)
    say(f"measuring {', '.join(candidates)}")
    settings = Settings(
        model=model,
        backend="ort",
        provider="cpu",
        precision=None,
        threads=None,
        batch=1,
        compare=candidates,
        peers=[],
        source=None,
        init_box=None,
        seconds=seconds,
    )
    report, _ = run(settings, say)
    ours = [row for row in report["rows"] if row["name"] != "published"]
    best = max(ours, key=lambda row: row["ratio"]["value"])
    say(f"tracking end to end with {best['name']}")
    report["end_to_end"] = end_to_end(best, model, photograph())
    network = {r["name"]: r["stages"]["network"]["median_ms"] for r in ours if r["threads"] is None}
    report["arithmetic"] = arithmetic(model, network)
    report["not_available"] = refused
    place = results / f"cpu-{machine_name(report)}"
    write_whole(place.with_suffix(".json"), json.dumps(report, indent=1) + "\n")
    write_whole(place.with_suffix(".md"), page(report))
    print(place.with_suffix(".json"))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
