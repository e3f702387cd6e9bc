"""Every GPU row in one run of a few minutes, on any machine with an NVIDIA GPU and PyTorch; writes a JSON report.

    python benchmarks/gpu.py [--model models/mvt] [-o report.json]

Rows are PyTorch eager, with CUDA graphs, and with ``torch.compile``; ONNX Runtime's CUDA provider and its TensorRT-RTX
plug-in; TensorRT and TensorRT-RTX in fp32, fp16 and int8, fp16 also without CUDA graphs; and other sides of the search
crop. A row that cannot run here says why. Each row has its parity with PyTorch in fp32 on the CPU, latency percentiles
at batch 1 (the network from a uint8 crop in host memory to a box in host memory, and the tracker from a frame to a
box), targets per second at batches of 1 to 64, the share of the GPU's limit (the time that its measured memory
bandwidth or arithmetic would need at least, over the time taken), the speed relative to PyTorch eager in fp32, and,
with ``--gate``, what it does to trajectories. ``--rehearse`` goes through all rows on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from mvt_deploy import Tracker, __version__
from mvt_deploy.assets import asset
from mvt_deploy.backends.base import Backend, SearchResult
from mvt_deploy.bundle import SearchSize, TrackerSpec, open_bundle
from mvt_deploy.crops import CropPairs, photograph_pairs
from mvt_deploy.errors import UserError
from mvt_deploy.files import write_whole

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PERCENTILES = (50, 90, 95, 99)
MIN_ROUNDS = 50
"""Calls that a percentile is taken over at least; a rehearsal makes few."""
EAGER = "torch eager fp32"
"""The row that the others' speed is compared with; it is measured again at the end, to show the drift."""
AUTHORS = {"tensorrt_fps": 300, "tensorrt_over_pytorch": 1.71}
"""What the authors report for TensorRT on their GPU."""


@dataclass
class Row:
    """One way of running the network.

    Attributes:
        label: Name of the row.
        search_size: Side of the search crops, in pixels.
        skipped: Why nothing was measured; empty where it was.
        seconds_to_open: Seconds until the model was open, engine builds included.
        parity: Largest differences from PyTorch in fp32 on the CPU.
        network_ms: Percentiles of the latency from a crop to a box, in milliseconds.
        tracker_ms: Percentiles of the latency from a frame to a box, in milliseconds.
        targets_per_second: Rates by batch, one batch after the other.
        pipelined_targets_per_second: Rates by batch, with two batches in flight.
        share_of_limit: Share of the GPU's limit reached, by batch.
        over_eager: Median network latency of PyTorch eager in fp32 over this row's.
        gate: Verdict on the trajectories, where it was asked for.
    """

    label: str
    search_size: int = 256
    skipped: str = ""
    seconds_to_open: float = 0.0
    parity: dict[str, float] = field(default_factory=dict)
    network_ms: dict[str, float] = field(default_factory=dict)
    tracker_ms: dict[str, float] = field(default_factory=dict)
    targets_per_second: dict[str, float] = field(default_factory=dict)
    pipelined_targets_per_second: dict[str, float] = field(default_factory=dict)
    share_of_limit: dict[str, float] = field(default_factory=dict)
    over_eager: float | None = None
    gate: dict[str, Any] | None = None


@dataclass(frozen=True)
class Candidate:
    """A row to measure: how it is named, and how it is opened."""

    label: str
    precision: str
    open: Callable[[], Backend]
    search_size: int = 256


@dataclass(frozen=True)
class Limits:
    """What the GPU does at best, measured here, and what one search of one target needs at least.

    Attributes:
        copy_gb_s: Memory bandwidth of a copy, in GB/s.
        tflops: Arithmetic of a matrix product by precision, in TFLOP/s.
        flops: Floating-point operations of a search.
        weights: Parameters that the search graph reads.
        moved: Bytes of crop, template features and answers in fp16.
    """

    copy_gb_s: float
    tflops: dict[str, float]
    flops: int
    weights: int
    moved: int

    def floor(self, precision: str, batch: int) -> float:
        """Seconds a batch needs at least: its arithmetic, or its weights, inputs and outputs moved once."""
        size = 4 if precision == "fp32" else 2
        arithmetic = self.flops * batch / (self.tflops.get(precision, self.tflops["fp16"]) * 1e12)
        return max(arithmetic, (self.weights * size + self.moved * batch) / (self.copy_gb_s * 1e9))


def main() -> int:
    arguments = _arguments()
    try:
        import torch

        from mvt_deploy.backends.torch_cuda import require_cuda

        if not arguments.rehearse:
            require_cuda()
    except ImportError as error:
        print(f"error: this needs PyTorch with CUDA ({error}): pip install torch.", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    say(f"measuring on {name}")
    limits = measure_limits() if torch.cuda.is_available() else Limits(1.0, {"fp32": 1.0, "fp16": 1.0}, *needs())
    expected: dict[int, tuple[CropPairs, SearchResult]] = {}
    rows: list[Row] = []
    batches = BATCHES[:2] if arguments.rehearse else BATCHES
    if arguments.rehearse:
        globals()["MIN_ROUNDS"] = 3
    with tempfile.TemporaryDirectory() as scratch:
        judge = make_judge(_copy(arguments.model, Path(scratch))) if arguments.gate else None
        for candidate in candidates(arguments.model, Path(scratch), arguments.rehearse):
            side = candidate.search_size
            if time.perf_counter() - began > arguments.limit:
                rows.append(Row(candidate.label, side, f"the time limit of {arguments.limit:g} s was reached"))
                continue
            if side not in expected:
                pairs = photograph_pairs(batches[-1], search_size=side)
                expected[side] = pairs, expected_results(pairs, side)
            label, precision = candidate.label, candidate.precision
            row = measure(label, precision, candidate.open, *expected[side], limits, arguments.seconds, judge, batches)
            row.search_size = side
            rows.append(row)
            say(line(row))
    compare_with_eager(rows)
    report = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "mvt_deploy": __version__,
        "rehearsal": arguments.rehearse,
        "machine": _machine(),
        "limits": asdict(limits),
        "authors": AUTHORS,
        "rows": [asdict(row) for row in rows],
        "seconds": round(time.perf_counter() - began, 1),
    }
    slug = "-".join(name.lower().split())
    output: Path = arguments.output or ROOT / "benchmarks" / "results" / f"gpu-{slug}.json"
    write_whole(output, json.dumps(report, indent=1) + "\n")
    print(output)
    return 0


def candidates(model: Path, scratch: Path, rehearse: bool = False) -> Iterator[Candidate]:
    """What is measured, in its order; engines are built in ``scratch``, and shared by rows.

    Args:
        model: The bundle; exported afresh where there is none.
        scratch: A folder for the copy that engines are built in.
        rehearse: Adds rows of PyTorch and ONNX Runtime on the CPU, which run anywhere.
    """
    from mvt_deploy import load
    from mvt_deploy.backends.tensorrt.flavour import NAMES
    from mvt_deploy.backends.torch_cuda import TorchCudaBackend

    checkpoint = asset("mvt.safetensors")

    def torch_row(label: str, precision: str, side: int = 256, **options: Any) -> Candidate:
        def opens() -> Backend:
            return TorchCudaBackend(checkpoint, precision, search_size=side, **options)

        return Candidate(label, precision, opens, side)

    def ort_row(label: str, precision: str, provider: str) -> Candidate:
        def opens() -> Backend:
            return load(_copy(model, scratch), provider=provider, precision=precision)

        return Candidate(label, precision, opens)

    def engine_row(flavour: str, precision: str, side: int = 256, graph: bool = True) -> Candidate:
        def opens() -> Backend:
            return _open_engine(_copy(model, scratch), flavour, precision, side, graph)

        label = f"{flavour} {precision}" + (f" s{side}" if side != 256 else "") + ("" if graph else " without a graph")
        return Candidate(label, precision, opens, side)

    if rehearse:
        yield torch_row("torch cpu fp32", "fp32", device="cpu")
        yield ort_row("ort cpu fp32", "fp32", "cpu")
    for precision in ("fp32", "fp16", "bf16"):
        yield torch_row(f"torch eager {precision}", precision, graph=False)
    for precision in ("fp32", "fp16", "bf16"):
        yield torch_row(f"torch CUDA graph {precision}", precision)
    for precision in ("fp32", "fp16"):
        yield torch_row(f"torch.compile {precision}", precision, graph=False, compiled=True)
    yield torch_row("torch.compile and CUDA graph fp16", "fp16", compiled=True)
    for precision in ("fp32", "fp16"):
        yield ort_row(f"ort cuda {precision}", precision, "cuda")
    for precision in ("fp16", "int8"):
        yield ort_row(f"ort tensorrt-rtx {precision}", precision, "tensorrt-rtx")
    for flavour in NAMES:
        for precision in ("fp32", "fp16", "int8"):
            yield engine_row(flavour, precision)
        yield engine_row(flavour, "fp16", graph=False)
    for side in _other_sides(model):
        yield torch_row(f"torch CUDA graph fp16 s{side}", "fp16", side)
        for flavour in NAMES:
            yield engine_row(flavour, "fp16", side)
    yield torch_row(f"{EAGER} again", "fp32", graph=False)


def _other_sides(model: Path) -> tuple[int, ...]:
    """Sides that the bundle holds besides the default; without a bundle, the smallest and the largest of the dial."""
    default = TrackerSpec().search_size
    if not (model / "manifest.json").is_file():
        return (192, 320)
    return tuple(side for side in open_bundle(model).search_sizes if side != default)


def _copy(model: Path, scratch: Path) -> Path:
    """The bundle in a place where engines may be written; exported there if there is none."""
    place = scratch / "mvt"
    if not place.exists():
        if (model / "manifest.json").is_file():
            shutil.copytree(model, place)
        else:
            from mvt_deploy.export import export_bundle

            export_bundle(None, place, fp16=True)
    return place


def _open_engine(model: Path, flavour: str, precision: str, side: int, graph: bool) -> Backend:
    from mvt_deploy.backends.tensorrt.build import build_engines
    from mvt_deploy.backends.tensorrt.flavour import open_flavour
    from mvt_deploy.backends.tensorrt.machine import gpu_here
    from mvt_deploy.backends.tensorrt.runner import TensorRtBackend
    from mvt_deploy.backends.tensorrt.store import stored_engines

    bundle = open_bundle(model)
    opened, gpu = open_flavour(flavour), gpu_here()
    search = bundle.graphs("tensorrt", precision, side).search
    built = [e for e in stored_engines(bundle) if (e.info.flavour, e.info.graph) == (flavour, search.file)]
    if gpu is not None and not built:
        build_engines(bundle, precision, opened, gpu, search_size=side)
    return TensorRtBackend(bundle, precision, search_size=side, flavours=[opened], graph=graph)


def make_judge(model: Path) -> Callable[[Backend], dict[str, Any]]:
    """A judge of a backend's trajectories on rendered clips, against ONNX Runtime's in fp32 on the CPU."""
    from mvt_deploy import load
    from mvt_deploy.evaluation.gate.clips import rendered
    from mvt_deploy.evaluation.gate.trajectories import run_gate

    clips = rendered()

    def judge(candidate: Backend) -> dict[str, Any]:
        side: SearchSize = candidate.spec.search_size
        side = None if side == TrackerSpec().search_size else side
        with load(model, "ort") as reference:
            return asdict(run_gate(reference, candidate, clips, precision=candidate.precision, search_size=side))

    return judge


def compare_with_eager(rows: list[Row]) -> None:
    """Fill ``over_eager``: how many times faster a row is than PyTorch eager in fp32, at batch 1."""
    eager = next((row.network_ms["p50"] for row in rows if row.label == EAGER and row.network_ms), None)
    for row in rows:
        if eager is not None and row.network_ms:
            row.over_eager = round(eager / row.network_ms["p50"], 3)


def measure(
    label: str,
    precision: str,
    make: Callable[[], Backend],
    pairs: CropPairs,
    expected: SearchResult,
    limits: Limits,
    seconds: float,
    judge: Callable[[Backend], dict[str, Any]] | None = None,
    batches: tuple[int, ...] | None = None,
) -> Row:
    """Open a backend and measure all of its row; whatever it refuses becomes the row's ``skipped``."""
    row = Row(label)
    began = time.perf_counter()
    try:
        model = make()
        row.seconds_to_open = round(time.perf_counter() - began, 3)
        row.parity = parity(model, pairs, expected)
        row.network_ms = network_latency(model, pairs, seconds)
        row.tracker_ms = tracker_latency(model, seconds)
        for batch in batches or BATCHES:
            rate = throughput(model, pairs, batch, seconds / 2)
            row.targets_per_second[str(batch)] = round(rate, 1)
            row.share_of_limit[str(batch)] = round(limits.floor(precision, batch) * rate / batch, 4)
            if hasattr(model, "submit"):
                row.pipelined_targets_per_second[str(batch)] = round(pipelined(model, pairs, batch, seconds / 2), 1)
        if judge is not None:
            row.gate = judge(model)
        model.close()
    except (UserError, ImportError) as error:
        row.skipped = str(error)
    except Exception as error:  # one broken row must not cost the others
        row.skipped = f"{type(error).__name__}: {error}"
    return row


def parity(model: Backend, pairs: CropPairs, expected: SearchResult) -> dict[str, float]:
    """Largest differences from PyTorch in fp32 on the CPU, over the pairs; box in pixels of the search crop."""
    found = model.search(pairs.search, model.template(pairs.template), score_map=True)
    assert found.score_map is not None
    assert expected.score_map is not None
    boxes = np.abs(found.box - expected.box).max(1) * model.spec.search_size
    return {
        "score_map": float(np.abs(found.score_map - expected.score_map).max()),
        "score": float(np.abs(found.score - expected.score).max()),
        "box_px_median": float(np.median(boxes)),
        "box_px_max": float(boxes.max()),
        "pairs": len(boxes),
    }


def network_latency(model: Backend, pairs: CropPairs, seconds: float) -> dict[str, float]:
    """From a crop in host memory to a box in host memory, one target."""
    features = model.template(pairs.template[:1])
    crops = [pairs.search[i : i + 1] for i in range(len(pairs.search))]
    return _percentiles(lambda i: model.search(crops[i % len(crops)], features), seconds)


def tracker_latency(model: Backend, seconds: float) -> dict[str, float]:
    """A whole update of one target in a 1280x720 frame that is in memory: cropping, network, mapping back."""
    frames = np.random.default_rng(0).integers(0, 255, (4, 720, 1280, 3), np.uint8)
    tracker = Tracker(model)
    tracker.init(frames[0], (600, 300, 90, 70))
    return _percentiles(lambda i: tracker.update(frames[i % 4]), seconds)


def throughput(model: Backend, pairs: CropPairs, batch: int, seconds: float) -> float:
    """Targets per second, one batch after the other."""
    crops, features = pairs.search[:batch], model.template(pairs.template[:batch])
    return batch * _rate(lambda: model.search(crops, features), seconds)


def pipelined(model: Any, pairs: CropPairs, batch: int, seconds: float) -> float:
    """Targets per second with two batches in flight."""
    crops, features = pairs.search[:batch], model.template(pairs.template[:batch])
    waiting: deque[Any] = deque()

    def one() -> None:
        waiting.append(model.submit(crops, features))
        if len(waiting) == 2:
            waiting.popleft().result()

    rate = batch * _rate(one, seconds)
    while waiting:
        waiting.popleft().result()
    return rate


def measure_limits() -> Limits:
    """The GPU's copy bandwidth and matrix arithmetic as PyTorch reaches them, and what the search needs."""
    import torch

    source = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = 2 * source.nbytes / _gpu_seconds(lambda: target.copy_(source)) / 1e9
    tflops = {}
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        side = 4096
        a, b = (torch.randn(side, side, device="cuda").to(dtype) for _ in range(2))
        tflops[name] = 2 * side**3 / _gpu_seconds(partial(torch.matmul, a, b)) / 1e12
    flops, weights, features = needs()
    return Limits(round(copy, 1), {k: round(v, 1) for k, v in tflops.items()}, flops, weights, features)


def needs() -> tuple[int, int, int]:
    """Floating-point operations, parameters, and bytes moved (fp16 features) of one search of one target."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mvt_deploy.network import load_checkpoint

    model = load_checkpoint(asset("mvt.safetensors"))
    with torch.inference_mode():
        features = model.encode_template(torch.zeros(1, 3, 128, 128))
        with FlopCounterMode(display=False) as counter:
            model.track(torch.zeros(1, 3, 256, 256), features)
    moved = 256 * 256 * 3 + sum(f.numel() for f in features) * 2 + 5 * 4
    return int(counter.get_total_flops()), sum(p.numel() for p in model.parameters()), moved


def _gpu_seconds(work: Callable[[], object], rounds: int = 20) -> float:
    """Seconds of one round on the GPU, by its own clock."""
    import torch

    for _ in range(3):
        work()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(rounds):
        work()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / rounds / 1e3


def _percentiles(work: Callable[[int], object], seconds: float) -> dict[str, float]:
    """Milliseconds of single calls: median and higher percentiles, mean, longest, how many."""
    for i in range(min(20, MIN_ROUNDS)):
        work(i)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < MIN_ROUNDS:
        began = time.perf_counter()
        work(len(taken))
        taken.append((time.perf_counter() - began) * 1e3)
    found = {f"p{p}": round(float(np.percentile(taken, p)), 4) for p in PERCENTILES}
    return {**found, "mean": round(float(np.mean(taken)), 4), "max": round(max(taken), 4), "calls": len(taken)}


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Calls per second."""
    for _ in range(min(5, MIN_ROUNDS)):
        work()
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or calls < min(10, MIN_ROUNDS):
        work()
        calls += 1
    return calls / elapsed


def expected_results(pairs: CropPairs, side: int = 256) -> SearchResult:
    from mvt_deploy.backends.torch import TorchBackend

    model = TorchBackend(asset("mvt.safetensors"), search_size=side)
    return model.search(pairs.search, model.template(pairs.template), score_map=True)


def _machine() -> dict[str, Any]:
    import platform

    import onnxruntime
    import torch

    from mvt_deploy.backends.tensorrt.device.base import driver_release

    versions = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if not torch.cuda.is_available():
        return {"gpu": None, **versions}
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "driver": driver_release(),
        "cudnn": torch.backends.cudnn.version(),
        **versions,
    }


def line(row: Row) -> str:
    if row.skipped:
        return f"  {row.label}: left out ({row.skipped})"
    best = max({**row.targets_per_second, **row.pipelined_targets_per_second}.values())
    return (
        f"  {row.label}: network {row.network_ms['p50']:.3f} ms, tracker {row.tracker_ms['p50']:.3f} ms, "
        f"at best {best:.0f} targets/s, box off by {row.parity['box_px_max']:.3f} px at most"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--model",
        type=Path,
        default=ROOT / "models" / "mvt",
        help="bundle for engines and sessions; exported afresh where there is none",
    )
    parser.add_argument("-o", "--output", type=Path, help="default: benchmarks/results/gpu-<name of the GPU>.json")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds to measure each figure for")
    parser.add_argument("--limit", type=float, default=420.0, help="seconds after which no row is begun")
    parser.add_argument("--gate", action="store_true", help="judge every row by its trajectories too (minutes more)")
    parser.add_argument("--rehearse", action="store_true", help="go through all rows on a machine without a GPU too")
    return parser.parse_args()


def say(message: str) -> None:
    """A line of progress, on stderr."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
