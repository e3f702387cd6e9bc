"""A measurement as a table, JSON, CSV, Markdown and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from ..errors import MissingExtra, UserError
from .clip import Clip
from .machine import one_line
from .measure import STAGES, Row
from .statistics import NOISY, latency, ratio

Report = dict[str, Any]


def build(machine: dict[str, Any], rows: Sequence[Row], clip: Clip) -> Report:
    """The report: ``{machine, clip, rows: [{name, backend, provider, precision, threads, batch, stages, ratio}]}``.

    A row's ``ratio`` is how many times faster than by the first row a target is found, over the total;
    ``network_ratio`` is the same of the network alone. ``template``, ``model_mb``, ``first_box_s`` and
    ``peak_memory_mb`` come where they are known. ``clip.read`` is what decoding a frame from disk costs.
    """
    made = []
    for row in rows:
        candidate = row.candidate
        entry: dict[str, Any] = {"name": row.name, **asdict(candidate)}
        entry["stages"] = {stage: asdict(latency(row.seconds(stage))) for stage in STAGES}
        for key, stage in (("ratio", "total"), ("network_ratio", "network")):
            entry[key] = asdict(ratio(rows[0].by_round(stage), row.by_round(stage), candidate.batch))
        if row.template_seconds:
            entry["template"] = asdict(latency(row.template_seconds))
        entry["model_mb"] = round(row.model_bytes / 1e6, 2) or None
        entry.update({key: round(value, 3) for key, value in row.start_up().items()})
        made.append(entry)
    read = asdict(latency(clip.read)) if clip.read else None
    return {"machine": machine, "clip": {"name": clip.name, "frames": len(clip.frames), "read": read}, "rows": made}


def warnings(report: Report) -> list[str]:
    """Rows whose total varies more than it should.

    Turns cancel what slows every row alike. A busy core does not: a row of two threads waits for the later one, a row
    of one thread takes the core that is free, so their ratio is off by more than its interval tells.
    """
    return [
        f"{row['name']} varies by {row['stages']['total']['cov']:.0%} (standard deviation over mean): "
        "the machine is busy, which slows rows of more threads more; until it is quiet, compare rows of equal threads"
        for row in report["rows"]
        if row["stages"]["total"]["cov"] > NOISY
    ]


_COLUMNS = (
    "name", "ratio", "network ms", "crop ms", "decode ms", "total ms", "p90", "p95", "p99", "mean ± std", "fps 1/mean",
    "fps mean(1/t)", "template ms", "model MB", "peak MB", "first box s",
)  # fmt: skip


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
        number(row["template"]["median_ms"] if "template" in row else None),
        number(row["model_mb"], 1),
        number(row.get("peak_memory_mb"), 0),
        number(row.get("first_box_s")),
    ]


def table(report: Report) -> Table:
    """For the screen: a column a row of the report, since there is more to say than fits a line."""
    made = Table(title=f"{one_line(report['machine'])}\n{report['clip']['name']}; medians, one frame")
    cells = [_cells(row) for row in report["rows"]]
    made.add_column("")
    for row in cells:
        made.add_column(row[0], justify="right")
    for i, name in enumerate(_COLUMNS[1:], 1):
        if any(row[i] for row in cells) and not (name == "ratio" and len(cells) == 1):
            made.add_row(name, *(row[i] for row in cells))
    if read := report["clip"]["read"]:
        made.caption = f"reading a frame: {read['median_ms']:.2f} ms"
    return made


def markdown(report: Report) -> str:
    """A Markdown table, ratios first."""
    shown = (0, 1, 2, 3, 4, 5, 8, 10, 13)
    lines = [
        f"{one_line(report['machine'])}; {report['clip']['name']}.",
        "",
        "| " + " | ".join(_COLUMNS[i] for i in shown) + " |",
        "|" + "---|" * len(shown),
    ]
    for row in report["rows"]:
        cells = _cells(row)
        lines.append("| " + " | ".join(cells[i] for i in shown) + " |")
    return "\n".join(lines) + "\n"


def to_csv(report: Report) -> str:
    """One line a row and stage."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "backend", "provider", "precision", "threads", "batch", "stage", *_RATIO, *_STATS])
    for row in report["rows"]:
        for stage in STAGES:
            found = row["stages"][stage]
            head = [row[k] for k in ("name", "backend", "provider", "precision", "threads", "batch")]
            faster = (
                row["ratio"].values()
                if stage == "total"
                else row["network_ratio"].values()
                if stage == "network"
                else ("",) * 3
            )
            writer.writerow([*head, stage, *faster, *(found[k] for k in _STATS)])
    return out.getvalue()


_RATIO = ("ratio", "ratio_low", "ratio_high")  # of the stages that have one
_STATS = ("median_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "std_ms", "cov", "iterations")


def plot(rows: Sequence[Row], path: Path) -> bytes:
    """The distribution of every row's total as a cumulative curve; the picture's kind is the path's ending.

    Raises:
        MissingExtra: matplotlib is not installed.
        UserError: the ending is no kind of picture.
    """
    require_plots(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        times = sorted(1e3 * s for s in row.seconds("total"))
        axes.step(times, [(i + 1) / len(times) for i in range(len(times))], where="post", label=row.name)
    axes.set_xlabel("total latency of a frame, ms")
    axes.set_ylabel("share of frames")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    image = io.BytesIO()
    figure.savefig(image, dpi=130, format=path.suffix[1:].lower())
    return image.getvalue()


def require_plots(path: Path) -> None:
    """Refuse early what :func:`plot` could not draw.

    Raises:
        MissingExtra: matplotlib is not installed.
        UserError: the file's ending is no kind of picture.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("--plot", "eval", error.name or "matplotlib") from error
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"cannot draw a plot named '{path.name}': end the name with .png, .svg or .pdf.")
