"""Make the chart of the dial: accuracy against speed of every backend, precision and search size, in one picture.

python benchmarks/dial.py CLIPS --model DIR [--only accuracy|speed] [--row ort:int8:s192]... [-o RESULT.json]
python benchmarks/dial.py --draw [-o RESULT.json] [--picture docs/assets/dial.svg]

DIR is a bundle with search graphs of several sides (``mvt-deploy export --int8 --search-size 192 --search-size 224
--search-size 320``). Accuracy is that of ``mvt-deploy eval``: every row follows every clip from its first box, without
a policy for lost targets. Speed is measured as ``mvt-deploy bench`` does, all rows in turns with the published graph
and with PyTorch: on one thread in processor time, which a busy machine changes little, or with more threads in
wall-clock time, which needs a quiet one. A row with ``auto`` takes the sides that it took on the clips, in an order in
which every stretch has their shares. Each phase names its weights and keeps what the other has written: speed depends
on the weights only in the shares of ``auto``. ``--draw`` makes the picture from the JSON file alone.

Instruction sets are those of the processor. For fewer of them set OV_CPU_MAX_ISA, DNNL_MAX_CPU_ISA and
ONEDNN_MAX_CPU_ISA (OpenVINO) and ATEN_CPU_CAPABILITY (PyTorch), which the report then names; ONNX Runtime has no such
switch.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from reports import RESULTS, machine_name, script, write_json

from mvt_deploy import SearchPolicy, Track, Tracker
from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.bench.clip import photograph
from mvt_deploy.bench.machine import describe
from mvt_deploy.bench.measure import Row, measure, our_row, published_row
from mvt_deploy.bench.published import cached_graph
from mvt_deploy.bench.report import build
from mvt_deploy.bench.statistics import ratio
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.cli.bars import Bars
from mvt_deploy.cli.options import say
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.bootstrap import compare_runs
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.metrics import SequenceScore
from mvt_deploy.evaluation.runner import TrackerFactory, track_sequence
from mvt_deploy.evaluation.sequence import Dataset
from mvt_deploy.files import write_whole
from mvt_deploy.geometry import BGRImage
from mvt_deploy.overlap import got10k_overlaps

PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "dial.svg"
GRAPHS = (("ort", "fp32"), ("ort", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
FIRST = "ort:fp32:s256"
"""The row that all AO is compared with."""
SWITCHES = ("OV_CPU_MAX_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
METRIC = "ao_by_sequence"
GOLDEN = (5**0.5 - 1) / 2
ITERATIONS = 60  # frames per row, at least
CLOSE = 0.005  # of AO: what counts as no loss in the chart's words

NAMES = {"ort": "ONNX Runtime", "openvino": "OpenVINO"}
TEXT, FAINT = "#757d88", "#757d8855"  # readable on white and on nearly black
COLOURS = {
    "ort fp32": "#3d8fd6",
    "ort int8": "#e0702d",
    "openvino fp32": "#2f9e6e",
    "openvino bf16": "#9a76d8",
    "openvino int8": "#d1497b",
}
MARKERS = {"192": "s", "224": "D", "256": "o", "320": "^", "auto": "*"}


def rows_of(bundle: Bundle, asked: Sequence[str]) -> list[str]:
    """The rows to measure: those asked for, or every backend, precision and side, and ``auto``."""
    if asked:
        return list(asked)
    sides = [*(f"s{side}" for side in bundle.search_sizes), "auto"]
    return [f"{backend}:{precision}:{side}" for (backend, precision), side in itertools.product(GRAPHS, sides)]


class Sides:
    """A tracker that notes the side of every search crop."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.taken: list[int] = []

    def init(self, frame: BGRImage, box: Any) -> None:
        """Start on a target."""
        self.tracker.init(frame, box)

    def update(self, frame: BGRImage) -> Track:
        """Follow it."""
        found = self.tracker.update(frame)
        self.taken += self.tracker.search_sizes
        return found


class Again(SearchPolicy):
    """Takes given sides again and again, in golden-ratio steps, so that every stretch of frames has their shares.

    Args:
        sides: The side of every frame, in pixels; sorted, so that equal ones lie together.
    """

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        given = (sides[int(number * GOLDEN % 1 * len(sides))] for number in itertools.count())
        object.__setattr__(self, "_given", given)

    def side(self, *_: Any) -> int:
        """The next one."""
        return next(self._given)  # type: ignore[attr-defined,no-any-return]


def accuracy(candidate: Candidate, model: Path, dataset: Dataset) -> dict[str, Any]:
    """Overlaps of every clip, and the sides that were taken, in runs of equal ones."""
    factory = TrackerFactory(
        model, candidate.backend, candidate.precision, threads=1, search_size=candidate.search_size
    )
    tracker = Sides(factory())
    clips = {}
    with contextlib.closing(tracker.tracker.model):
        for sequence in dataset.sequences:
            result = track_sequence(sequence, tracker)
            overlaps = got10k_overlaps(result.boxes, sequence.truth, sequence.frame_size())
            clips[sequence.name] = round(float(overlaps.mean()), 5)
    runs = [(side, len(list(same))) for side, same in itertools.groupby(tracker.taken)]
    return {"clips": clips, "sides": [f"{side}x{count}" for side, count in runs]}


def unpacked(runs: Sequence[str]) -> list[int]:
    """The sides of every frame."""
    return [side for run in runs for side, count in [map(int, run.split("x"))] for _ in range(count)]


def compared(rows: dict[str, Any]) -> None:
    """Enter the mean AO of every row, and its difference from the first one with a 95 % interval over clips."""

    def scores(row: dict[str, Any]) -> list[SequenceScore]:
        return [SequenceScore(name, 1, {METRIC: (ao, 1.0)}, {}, ()) for name, ao in row["clips"].items()]  # type: ignore[arg-type]

    for row in rows.values():
        found = compare_runs(scores(row), scores(rows[FIRST]))[0]
        values = {"ao": found.first, "difference": found.difference, "low": found.low, "high": found.high}
        row.update({key: round(value, 4) for key, value in values.items()})


def speed(names: Sequence[str], bundle: Bundle, accuracies: dict[str, Any], seconds: float, threads: int) -> Any:
    """Latency of every row beside the published graph and PyTorch, all in turns."""
    clip = photograph()
    torch = parse(f"torch:t{threads}")
    rows = [published_row(cached_graph(bundle), clip, threads), our_row(torch, bundle, clip)]
    refused = {}
    for name in names:
        candidate = parse(f"{name}:t{threads}")
        try:
            row = our_row(candidate, bundle, clip)
        except UserError as error:
            refused[name] = str(error)
            continue
        row.name = name
        if candidate.search_size == "auto":
            _tracker(row).search = Again(sorted(unpacked(accuracies[name]["sides"])))
        rows.append(row)
    for row in rows:
        row.start_up = dict
    rows[1].name = "torch"
    with Bars() as bars:
        measure(rows, clip, seconds, ITERATIONS, bars, time.process_time if threads == 1 else time.perf_counter)
    report = build(describe(), rows, clip, refused)
    for made, row in zip(report["rows"], rows, strict=True):
        stage = "network"
        times = ratio(rows[1].by_round(stage), row.by_round(stage), varying=row.candidate.search_size == "auto")
        made["network_ratio_to_torch"] = {"value": times.value, "low": times.low, "high": times.high}
    report["environment"] = {name: os.environ[name] for name in SWITCHES if name in os.environ}
    report["threads"] = threads
    report["measured"] = "processor time" if threads == 1 else "wall-clock time"
    return report


def _tracker(row: Row) -> Tracker:
    assert isinstance(row.stages, Tracker)
    return row.stages


class Point:
    """A row in the chart.

    Args:
        name: The row, such as ``ort:int8:s192``.
        fps: Frames per second of the network: one over its mean time.
        ao: Mean AO over the clips, 0..1.
    """

    def __init__(self, name: str, fps: float, ao: float) -> None:
        self.name, self.fps, self.ao = name, fps, ao
        backend, precision, side = name.split(":")
        self.graphs, self.side = f"{backend} {precision}", side.removeprefix("s")

    @property
    def label(self) -> str:
        """A short name: the precision and the side."""
        return f"{self.graphs.split()[1]} {self.side}"


def points_of(found: dict[str, Any]) -> list[Point]:
    """The rows that have both figures."""
    aos = found["accuracy"]["rows"]
    speeds = {row["name"]: row["stages"]["network"]["fps_inverse_of_mean"] for row in found["speed"]["rows"]}
    return [Point(name, speeds[name], row["ao"]) for name, row in aos.items() if name in speeds]


def front(points: Sequence[Point]) -> Iterator[Point]:
    """The points that no other one beats in both speed and accuracy (the Pareto front), fastest first."""
    best = -1.0
    for point in sorted(points, key=lambda p: (-p.fps, -p.ao)):
        if point.ao > best:
            best = point.ao
            yield point


def draw(found: dict[str, Any]) -> str:
    """The chart as SVG."""
    import io

    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MultipleLocator, StrMethodFormatter

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dial", "font.family": "sans-serif"})
    points = points_of(found)
    rows = {row["name"]: row for row in found["speed"]["rows"]}
    best = list(front(points))
    figure = Figure(figsize=(8.2, 4.9), layout="constrained")
    axes = figure.subplots()
    for value in (figure.patch, axes.patch):
        value.set_alpha(0)
    reference = next(p.ao for p in points if p.name == FIRST)
    axes.axhspan(reference - CLOSE, reference + CLOSE, color=TEXT, alpha=0.13, lw=0)
    axes.text(0.985, reference - CLOSE, f"within {CLOSE:g} of fp32 at 256", color=TEXT, fontsize=8, ha="right",
              va="bottom", transform=axes.get_yaxis_transform())  # fmt: skip
    axes.step([p.fps for p in best], [p.ao for p in best], where="post", color=TEXT, lw=1.2, ls=(0, (4, 3)), zorder=1)
    for p in points:
        size = 130 if p.side == "auto" else 42
        axes.scatter(p.fps, p.ao, s=size, c=COLOURS[p.graphs], marker=MARKERS[p.side], linewidths=0, zorder=3)
    for name, text in (("published", "published graph"), ("torch", "PyTorch")):
        fps = rows[name]["stages"]["network"]["fps_inverse_of_mean"]
        axes.axvline(fps, color=FAINT, lw=1, zorder=0)
        axes.text(fps, 0.98, text, color=TEXT, fontsize=8, rotation=90, ha="right", va="top",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xlim(0, 1.06 * max(p.fps for p in points))
    low, high = min(p.ao for p in points), max(p.ao for p in points)
    axes.set_ylim(min(low, reference - CLOSE) - 0.005, max(high, reference + CLOSE) + 0.005)
    axes.yaxis.set_major_locator(MultipleLocator(0.005))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.3f}"))
    speeds = found["speed"]
    cpu = _article(speeds["machine"]["cpu"])
    if speeds["threads"] == 1:
        axes.set_xlabel(f"frames of the network per second of processor time, one core of {cpu}")
    else:
        cores = speeds["machine"]["cores"]
        axes.set_xlabel(f"frames per second of the network, {speeds['threads']} threads on {cores} cores of {cpu}")
    axes.set_ylabel(f"AO, mean of {len(found['accuracy']['rows'][FIRST]['clips'])} clips")
    axes.tick_params(colors=TEXT, labelsize=9)
    axes.grid(color=FAINT, lw=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(TEXT)
    shown = {p.graphs for p in points}
    dots = {" ".join((NAMES[g.split()[0]], g.split()[1])): c for g, c in COLOURS.items() if g in shown}
    handles = [
        *(Line2D([], [], color=colour, marker="o", ls="", label=name) for name, colour in dots.items()),
        *(Line2D([], [], color=TEXT, marker=mark, ls="", label=f"search {side}") for side, mark in MARKERS.items()),
        Line2D([], [], color=TEXT, ls=(0, (4, 3)), lw=1.2, label="Pareto front"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, labelcolor=TEXT, fontsize=8.5)
    _label(figure, axes, points, best)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Title": "AO against frames per second"})
    return out.getvalue()


def _article(cpu: str) -> str:
    return f"an {cpu}" if cpu[:1].lower() in "aeiou" else f"a {cpu}"


def _label(figure: Any, axes: Any, points: Sequence[Point], named: Sequence[Point]) -> None:
    """Name points where the text covers neither a marker nor another name: the nearest free place around each."""
    import math

    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    marks = [axes.transData.transform((p.fps, p.ao)) for p in points]
    corners = [(b.fps, a.ao) for a, b in itertools.pairwise(named)]  # of the Pareto front's steps
    ends = [*((p.fps, p.ao) for p in named), *corners]
    joined = [(one, c) for one in ends for c in corners if one[0] == c[0] or one[1] == c[1]]
    steps = [_between(axes, *pair) for pair in joined]
    half = 5 * scale
    taken = [(x - half, y - half, x + half, y + half) for x, y in marks] + steps
    inside = axes.get_window_extent(renderer)
    for point in named:
        places = [(r, a) for r in (8, 12, 17, 23, 30) for a in (90, 270, 45, 135, 315, 225, 0, 180)]
        for radius, angle in places:
            dx, dy = radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle))
            note = axes.annotate(
                point.label, (point.fps, point.ao), (dx, dy), textcoords="offset points", fontsize=8.5,
                ha="center" if abs(dx) < 1 else "left" if dx > 0 else "right",
                va="center" if abs(dy) < 1 else "bottom" if dy > 0 else "top", color=COLOURS[point.graphs],
            )  # fmt: skip
            box = note.get_window_extent(renderer)
            free = all(box.x1 < t[0] or box.x0 > t[2] or box.y1 < t[1] or box.y0 > t[3] for t in taken)
            if free and inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0 and box.y1 < inside.y1:
                taken.append((box.x0, box.y0, box.x1, box.y1))
                break
            note.remove()


def _between(axes: Any, one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float, float, float]:
    """The box of pixels that two points of the chart span."""
    (x0, y0), (x1, y1) = axes.transData.transform([one, other])
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def show(found: dict[str, Any]) -> None:
    """A line per row on stderr."""
    aos = found.get("accuracy", {}).get("rows", {})
    for name, row in aos.items():
        say(f"{name:22} AO {row['ao']:.4f}  {row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})")
    for row in found.get("speed", {}).get("rows", []):
        network, r, t = row["stages"]["network"], row["network_ratio"], row["network_ratio_to_torch"]
        say(
            f"{row['name']:22} {network['fps_inverse_of_mean']:6.1f} fps  {r['value']:.2f} "
            f"({r['low']:.2f}-{r['high']:.2f}) times published  {t['value']:.2f} times PyTorch"
        )


def main(
    clips: Annotated[Path | None, typer.Argument(help="Folder of clips with ground truth.")] = None,
    model: Annotated[Path | None, typer.Option("--model", help="Folder of a bundle that holds the sizes.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="accuracy or speed; default: both.")] = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="backend:precision:side; repeatable.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Minimum measuring time per row, in seconds.")] = 3.0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of the network.")] = 1,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file of the results.")] = None,
    note: Annotated[str | None, typer.Option("--note", help="What the report of speed should say besides.")] = None,
    picture: Annotated[Path, typer.Option("--picture", help="SVG file of the chart.")] = PICTURE,
    draw_only: Annotated[bool, typer.Option("--draw", help="Draw the results again, and measure nothing.")] = False,
) -> None:
    """Measure accuracy and speed of every backend, precision and search size, and draw them."""
    if only not in (None, "accuracy", "speed"):
        raise UserError(f"--only is accuracy or speed, not '{only}'.")
    file = output or RESULTS / f"dial-{machine_name(describe())}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not draw_only:
        if model is None:
            raise UserError("name a bundle that holds several sides with --model.")
        bundle = open_bundle(model)
        digest = bundle.manifest.checkpoint.sha256
        found.setdefault("made_by", "benchmarks/dial.py")
        names = rows_of(bundle, row or [])
        if only != "speed":
            if clips is None:
                raise UserError("name a folder of clips with ground truth, or measure --only speed.")
            if found.get("accuracy", {}).get("checkpoint") != digest:
                found["accuracy"] = {"checkpoint": digest, "machine": describe(), "rows": {}}
            _measure_accuracy(found, names, model, open_dataset(clips), file)
        if only != "accuracy":
            found["speed"] = speed(names, bundle, found.get("accuracy", {}).get("rows", {}), seconds, threads)
            found["speed"] |= {"checkpoint": digest, "note": note}
            write_json(file, found)
        show(found)
    if "accuracy" in found and "speed" in found and not (output and not draw_only):
        write_whole(picture, draw(found))
        print(picture)
    print(file)


def _measure_accuracy(found: dict[str, Any], names: Sequence[str], model: Path, dataset: Dataset, file: Path) -> None:
    """Follow the clips with every row that has no result yet; each result is written at once."""
    rows = found["accuracy"]["rows"]
    for name in names:
        if name in rows:
            continue
        say(f"tracking with {name}")
        try:
            rows[name] = accuracy(parse(name), model, dataset)
        except UserError as error:
            say(f"{name}: {error}")
            continue
        if FIRST in rows:
            compared(rows)
        write_json(file, found)


if __name__ == "__main__":
    script(main)
