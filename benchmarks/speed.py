"""Make ``benchmarks/results/cpu-<machine>.json`` and ``.md``: what a frame costs here, beside the published graph.

python benchmarks/speed.py [--model DIR] [--seconds S] [--results DIR]
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import typer
from reports import RESULTS, machine_name, script, write_json
from torch.utils.flop_counter import FlopCounterMode

from mvt_deploy.backends.onnx_session import OPENVINO_HINTS, OnnxSession
from mvt_deploy.backends.registry import load
from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.bench.clip import BenchClip, encode, photograph
from mvt_deploy.bench.report import BenchReport, markdown, warnings
from mvt_deploy.bench.session import BenchSettings, run
from mvt_deploy.bundle import DEFAULT, open_bundle
from mvt_deploy.cli.bars import Bars
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.errors import UserError
from mvt_deploy.export.graphs import split
from mvt_deploy.export.rewrites import PORTABLE, apply
from mvt_deploy.export.to_onnx import OPSET, example_inputs
from mvt_deploy.files import write_whole
from mvt_deploy.network import load_checkpoint
from mvt_deploy.tracker import Tracker
from mvt_deploy.video.session import Outputs, track_source
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import choose_targets

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
SIDES = ((320, 192, 576), (512, 512, 512), (1024, 1024, 1024), (1280, 576, 1024), (2048, 2048, 2048))
PEAK_SECONDS = 0.5  # for each product
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


def end_to_end(row: dict[str, Any], model: Path, clip: BenchClip) -> dict[str, float | str]:
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


def arithmetic(model: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The arithmetic limit: operations of a search over the highest rate this machine reached on a matrix product.

    The rate is the highest over runtimes, sizes and repetitions, for the threads of each row (see :func:`_peaks`). It
    is measured after the rows, not in turns with them: on a busy machine the shares mean nothing.
    """
    graphs = split(load_checkpoint(open_bundle(model).checkpoint()))
    published = _operations(graphs.search, example_inputs(*graphs)[1])
    apply(graphs, list(PORTABLE))
    operations = _operations(graphs.search, example_inputs(*graphs)[1])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    peaks = [
        peak for threads in sorted({1, cores}) for p in ("fp32", "bf16") if (peak := highest(_peaks(p, threads), p))
    ]
    shares = {}
    for row in rows:
        kind = ("bf16" if row["precision"] == "bf16" else "fp32", row["threads"] or cores)
        if rate := next((p["gflops"] for p in peaks if (p["precision"], p["threads"]) == kind), None):
            shares[row["name"]] = operations / rate / 1e6 / row["stages"]["network"]["median_ms"]
    return {
        "operations_per_search": {"unrewritten": published, "rewritten": operations},
        "peaks": [{**peak, "limit_ms": operations / peak["gflops"] / 1e6} for peak in peaks],
        "share_of_limit": shares,
    }


def _operations(graph: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    """Additions and multiplications for one target: the example inputs hold several."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        graph(*inputs)
    return int(counter.get_total_flops()) // len(inputs[0])


def highest(rates: Iterable[tuple[str, int, float]], precision: str) -> dict[str, Any] | None:
    """The highest of several rates as an entry of the report; None where there are none."""
    best = max(rates, key=lambda rate: rate[2], default=None)
    return best and {"precision": precision, "threads": best[1], "by": best[0], "gflops": best[2] / 1e9}


def _peaks(precision: str, threads: int) -> Iterator[tuple[str, int, float]]:
    """Who reached how many operations a second on matrix products: sizes that fit the caches, and larger ones.

    PyTorch alone is no measure of a processor: the library it calls in fp32 is tuned for one maker's. ONNX Runtime and
    OpenVINO bring their own, of which the second runs only where it is installed.
    """
    for m, k, n in SIDES:
        tried = {"torch": _torch_product, "onnxruntime": _ort_product, "openvino": _openvino_product}
        for name, make in tried.items():
            if run := make(m, k, n, precision, threads):
                yield f"{name} {m}x{k}x{n}", threads, 2 * m * k * n / _shortest(run)


def _shortest(run: Callable[[], Any]) -> float:
    """Seconds of the shortest of many runs."""
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < PEAK_SECONDS:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def _torch_product(m: int, k: int, n: int, precision: str, threads: int) -> Callable[[], Any]:
    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b, out = torch.rand(m, k).to(dtype), torch.rand(k, n).to(dtype), torch.empty(m, n, dtype=dtype)

    def run() -> None:
        with torch.inference_mode():
            torch.mm(a, b, out=out)

    return run


def _product(m: int, k: int, n: int) -> onnx.ModelProto:
    """A matrix product with a constant right side, which a runtime may pack beforehand."""
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).random((k, n), np.float32), "b")
    sides = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("a", (m, k)), ("c", (m, n)))
    ]
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "product", sides[:1], sides[1:], [weight])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)


def _ort_product(m: int, k: int, n: int, precision: str, threads: int) -> Callable[[], Any] | None:
    if precision != "fp32":
        return None
    session = OnnxSession(_product(m, k, n).SerializeToString(), threads=threads)
    a = np.random.default_rng(1).random((m, k), np.float32)
    return lambda: session.run({"a": a})


def _openvino_product(m: int, k: int, n: int, precision: str, threads: int) -> Callable[[], Any] | None:
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    hints = {"INFERENCE_PRECISION_HINT": OPENVINO_HINTS[precision], "INFERENCE_NUM_THREADS": threads}
    model = core.read_model(_product(m, k, n).SerializeToString())
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    a = np.random.default_rng(1).random((m, k), np.float32)
    return lambda: request.infer({"a": a}, share_inputs=True, share_outputs=True)


def page(report: BenchReport) -> str:
    """The Markdown beside the JSON."""
    ends, limit = report["end_to_end"], report["arithmetic"]
    lines = [
        "# Speed",
        f"Made by `benchmarks/speed.py`. Ratios are to the published graph, measured in turns with it in one run.\n\n"
        f"{markdown(report).rstrip()}",
        f"`mvt-deploy track` on 1280x720 with {ends['candidate']}: **{ends['fps']:.1f} fps** end to end, "
        f"{ends['share_of_network']:.0%} of the network's own {ends['network_fps']:.1f} fps.",
        f"A search takes {limit['operations_per_search']['rewritten'] / 1e9:.2f} G operations "
        f"({limit['operations_per_search']['unrewritten'] / 1e9:.2f} G before the rewrites). The highest rates this "
        "machine reached on matrix products, measured after the rows, and what a search takes at least at them:\n\n"
        + "\n".join(
            f"- {p['precision']}, threads {p['threads']}: {p['gflops']:.0f} GFLOP/s ({p['by']}), {p['limit_ms']:.1f} ms"
            for p in limit["peaks"]
        ),
        "Share of that rate reached, over the network: "
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


def main(
    model: Annotated[Path, typer.Option("--model", help="The bundle.")] = DEFAULT,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="At least so long for each row.")] = 3.0,
    results: Annotated[Path, typer.Option("--results", help="Where the two files go.")] = RESULTS,
) -> None:
    """Measure every CPU candidate that runs here."""
    ensure_model(model)
    candidates, refused = available(model)
    say(f"measuring {', '.join(candidates)}")
    settings = BenchSettings(model=model, compare=candidates, seconds=seconds)
    with Bars() as bars:
        report, _ = run(settings, bars)
    ours = [row for row in report["rows"] if row["name"] != "published"]
    best = max(ours, key=lambda row: row["ratio"]["value"])
    say(f"tracking end to end with {best['name']}")
    report["end_to_end"] = end_to_end(best, model, photograph())
    report["arithmetic"] = arithmetic(model, ours)
    report["not_available"] = refused
    place = results / f"cpu-{machine_name(report['machine'])}"
    write_json(place.with_suffix(".json"), report)
    write_whole(place.with_suffix(".md"), page(report))
    print(place.with_suffix(".json"))


if __name__ == "__main__":
    script(main)
