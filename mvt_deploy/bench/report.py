"""A measurement as JSON, cells of a table, CSV, Markdown and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from ..errors import MissingExtra, UserError
from ..progress import SILENT, Progress
from .clip import BenchClip
from .machine import one_line
from .measure import STAGES, Row
from .statistics import NOISY, latency, ratio

BenchReport = dict[str, Any]
"""What :func:`build` returns; it is written as JSON without any change."""


def build(
    machine: dict[str, Any],
    rows: Sequence[Row],
    clip: BenchClip,
    unavailable: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> BenchReport:
    """The report: ``{machine, clip, rows: [{name, backend, …, stages, ratio}], unavailable: [{name, reason}]}``.

    A row's ``ratio`` says how many times faster than in the first row a target is found, over the total;
    ``network_ratio`` is the same for the network alone. ``template``, ``model_mb``, ``first_box_s`` and
    ``peak_memory_mb`` come where they are known; ``sides`` is the share of each side of the search crop where the
    tracker chose it. ``clip.read`` is the cost of decoding a frame from disk.

    Args:
        machine: Facts about the machine, see :func:`~mvt_deploy.bench.machine.describe`.
        rows: Rows that were measured.
        clip: The frames they were measured on.
        unavailable: Reasons of the rows that were asked for and could not be measured, by name.
        progress: Told about the fresh processes that are started, one per row.
    """
    made = []
    for row in _counted(rows, progress):
        candidate = row.candidate
        entry: dict[str, Any] = {"name": row.name, **asdict(candidate)}
        entry["stages"] = {stage: asdict(latency(row.seconds(stage))) for stage in STAGES}
        for key, stage in (("ratio", "total"), ("network_ratio", "network")):
            turns = rows[0].by_round(stage), row.by_round(stage)
            entry[key] = asdict(ratio(*turns, candidate.batch, varying=candidate.search_size == "auto"))
        if row.template_seconds:
            entry["template"] = asdict(latency(row.template_seconds))
        if candidate.search_size == "auto":
            entry["sides"] = {str(side): round(n / row.sides.total(), 4) for side, n in sorted(row.sides.items())}
        entry["model_mb"] = round(row.model_bytes / 1e6, 2) or None
        entry.update({key: round(value, 3) for key, value in row.start_up().items()})
        made.append(entry)
    read = asdict(latency(clip.read)) if clip.read else None
    return {
        "machine": machine,
        "clip": {"name": clip.name, "frames": len(clip.frames), "read": read},
        "rows": made,
        "unavailable": [{"name": name, "reason": reason} for name, reason in (unavailable or {}).items()],
    }


def _counted(rows: Sequence[Row], progress: Progress) -> Iterator[Row]:
    """The rows one by one, while a task counts them."""
    with progress.task("starting fresh processes", len(rows)) as task:
        for row in rows:
            yield row
            task.advance()


def warnings(report: BenchReport) -> list[str]:
    """Sentences about the rows whose total latency varies too much; with ``auto`` it varies on a quiet machine too.

    Taking turns cancels what slows every row alike. A busy core does not: a row of two threads waits for the slower
    one, while a row of one thread takes the core that is free, so their ratio is off by more than its interval says.
    """
    return [
        f"{row['name']} varies by {row['stages']['total']['cov']:.0%} (standard deviation over mean): "
        "the machine is busy, which slows rows of more threads more; until it is quiet, compare rows of equal threads"
        for row in report["rows"]
        if row["stages"]["total"]["cov"] > NOISY and row["search_size"] != "auto"
    ]


_COLUMNS = (
    "name", "ratio", "network ms", "crop ms", "decode ms", "total ms", "p90", "p95", "p99", "mean ± std", "fps 1/mean",
    "fps mean(1/t)", "search sizes", "template ms", "model MB", "peak MB", "first box s",
)  # fmt: skip


_SHORT = ("name", "ratio", "network ms", "crop ms", "decode ms", "total ms", "p99", "fps 1/mean", "model MB")
"""Columns of the Markdown table."""


def _cells(row: dict[str, Any]) -> list[str]:
    stages, total, faster = row["stages"], row["stages"]["total"], row["ratio"]

    def number(value: float | None, digits: int = 2) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    return [
        row["name"],
        f"{faster['value']:.2f} ({faster['low']:.2f}–{faster['high']:.2f})",
        *(number(stages[s]["median_ms"]) for s in ("network", "crop", "decode")),
        number(total["median_ms"]),
        *(number(total[p]) for p in ("p90_ms", "p95_ms", "p99_ms")),
        f"{total['mean_ms']:.2f} ± {total['std_ms']:.2f}",
        number(total["fps_inverse_of_mean"], 1),
        number(total["fps_mean_of_inverse"], 1),
        ", ".join(f"{side}: {share:.0%}" for side, share in row.get("sides", {}).items()),
        number(row["template"]["median_ms"] if "template" in row else None),
        number(row["model_mb"], 1),
        number(row.get("peak_memory_mb"), 0),
        number(row.get("first_box_s")),
    ]


def cells(report: BenchReport) -> dict[str, list[str]]:
    """The table for people: a cell per row of the report, by name of the measure; empty measures are left out."""
    rows = [_cells(row) for row in report["rows"]]
    return {
        name: values
        for name, *values in zip(_COLUMNS, *rows, strict=True)
        if any(values) and not (name == "ratio" and len(rows) == 1)
    }


def markdown(report: BenchReport) -> str:
    """A Markdown table, with the ratios first."""
    shown = [_COLUMNS.index(name) for name in _SHORT]
    lines = [
        f"{one_line(report['machine'])}; {report['clip']['name']}.",
        "",
        "| " + " | ".join(_COLUMNS[i] for i in shown) + " |",
        "|" + "---|" * len(shown),
    ]
    for row in report["rows"]:
        values = _cells(row)
        lines.append("| " + " | ".join(values[i] for i in shown) + " |")
    for row in report["unavailable"]:
        reason = " ".join(row["reason"].split()).replace("|", "\\|")
        lines.append(f"| {row['name']} | not measured: {reason} |" + " |" * (len(shown) - 2))
    return "\n".join(lines) + "\n"


def to_csv(report: BenchReport) -> str:
    """One line per row and stage; rows that could not be measured have none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_KEYS, "stage", *_RATIO, *_STATS])
    for row in report["rows"]:
        for stage in STAGES:
            found = row["stages"][stage]
            head = [row[key] for key in _KEYS]
            faster = (
                row["ratio"].values()
                if stage == "total"
                else row["network_ratio"].values()
                if stage == "network"
                else ("",) * 3
            )
            writer.writerow([*head, stage, *faster, *(found[k] for k in _STATS)])
    return out.getvalue()


_KEYS = ("name", "backend", "provider", "precision", "search_size", "threads", "batch")
_RATIO = ("ratio", "ratio_low", "ratio_high")  # empty for stages without a ratio
_STATS = ("median_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "std_ms", "cov", "iterations")


def plot(report: BenchReport, rows: Sequence[Row], path: Path) -> bytes:
    """Draw the distribution of every row's total latency as a cumulative curve.

    The axis of time ends at the 99th percentile of the slowest row, and is logarithmic where rows differ by more than
    a factor of three, so that one slow row or frame does not squash the others.

    Args:
        report: The report; its title names the machine and the clip.
        rows: Rows with the times of every frame.
        path: Where the picture will be written; its suffix chooses the format.

    Raises:
        MissingExtra: matplotlib is not installed.
        UserError: The suffix is not that of a picture.
    """
    require_plots(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    low, high, medians = [], [], []
    for row in rows:
        times = np.sort([1e3 * s for s in row.seconds("total")])
        median = float(np.median(times))
        axes.step(times, np.arange(1, len(times) + 1) / len(times), where="post", label=f"{row.name}: {median:.1f} ms")
        medians.append(median)
        low.append(float(times[0]))
        high.append(float(np.percentile(times, 99)))
    if max(medians) > 3 * min(medians):
        axes.set_xscale("log")
        axes.set_xlim(0.9 * min(low), 1.1 * max(high))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, 1.05 * max(high))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("total latency per frame, ms (up to the slowest row's 99th percentile)")
    axes.set_ylabel("share of frames that are at most as slow")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", title="median", fontsize="small")
    figure.suptitle(f"Latency on {report['clip']['name']}", fontsize="large")
    axes.set_title("\n".join(wrap(one_line(report["machine"]), 100)), fontsize="small")
    image = io.BytesIO()
    figure.savefig(image, dpi=130, format=path.suffix[1:].lower())
    return image.getvalue()


def require_plots(path: Path) -> None:
    """Refuse early what :func:`plot` could not draw.

    Raises:
        MissingExtra: matplotlib is not installed.
        UserError: The suffix is not that of a picture.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("--plot", "eval", error.name or "matplotlib") from error
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"cannot draw a plot named '{path.name}': end the name with .png, .svg or .pdf.")
