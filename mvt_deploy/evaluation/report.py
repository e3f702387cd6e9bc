"""A run's figures as an object, and that object as table, JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from ..files import write_whole
from .attributes import NAMES
from .compare import Difference
from .metrics import (
    METRICS,
    NORMALISED_THRESHOLDS,
    PRECISION_THRESHOLDS,
    RULES,
    SUCCESS_THRESHOLDS,
    Rule,
    Score,
    by_attribute,
    curve,
    figures,
    score,
    unscored,
)
from .results import RunFolder
from .sequence import Dataset

_SPEEDS = ("fps_mean", "fps_total")
_TRACKINGNET_ONLY = "precision_area_50"
_BY_ATTRIBUTE = ("ao", "success_auc", "precision_20", "failure_rate")
THRESHOLDS = {"success": SUCCESS_THRESHOLDS, "precision": PRECISION_THRESHOLDS, "normalised": NORMALISED_THRESHOLDS}
"""Curve → its thresholds."""

DEFINITIONS = (
    "AO, SR0.5 and SR0.75 follow GOT-10k: frames of all sequences pooled, first frames dropped, boxes clipped to the "
    "frame; beside it stands the mean of every sequence's AO. Success AUC (21 thresholds), precision and normalised "
    "precision are means over sequences. Normalised precision has two conventions: its value at 0.2 (LaSOT) and the "
    "area under its curve to 0.5 (TrackingNet). Failure rate is the share of frames whose IoU with the ground truth is "
    "zero, a definition of this project: MVT's paper plots a failure rate without defining it. Speed counts the "
    "tracker's own time, without reading images: the mean of every frame's 1 / time (as the toolkits give it), and "
    "frames over total time."
)


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that is said of a run.

    Args:
        label: of the tracker.
        dataset: the benchmark's name.
        format: of the dataset.
        scores: one a sequence.
        derived: True if attributes come from the boxes and not from the benchmark's labels.
        tracker: what was run, as ``run.json`` has it.
        comparisons: label of another run → differences to it.
    """

    label: str
    dataset: str
    format: str
    scores: list[Score]
    derived: bool = False
    tracker: Mapping[str, Any] = field(default_factory=dict)
    comparisons: Mapping[str, list[Difference]] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """False if the ground truth is on the benchmark's server only, so that speed is all there is to say."""
        return any(s.curves for s in self.scores)

    @property
    def columns(self) -> tuple[str, ...]:
        """The metrics worth a column."""
        if not self.labelled:
            return _SPEEDS
        return tuple(key for key in METRICS if key != _TRACKINGNET_ONLY or self.format == "trackingnet")

    def figures(self) -> dict[str, float]:
        """The run's figures by metric key."""
        return figures(self.scores)

    def attributes(self) -> dict[str, dict[str, float]]:
        """Attribute → number of sequences and figures."""
        return {
            name: {"sequences": len(having), **{key: figures(having)[key] for key in _BY_ATTRIBUTE}}
            for name, having in by_attribute(self.scores).items()
            if self.labelled
        }


def scores_of(dataset: Dataset, folder: RunFolder) -> list[Score]:
    """The scores of a run's result files.

    Raises:
        ResultError: a sequence has no whole result.
    """
    rule = RULES.get(dataset.format, Rule())
    found = []
    for sequence in dataset.sequences:
        result = folder.read(sequence)
        if dataset.labelled:
            found.append(score(sequence, result.boxes, result.seconds, rule))
        else:
            found.append(unscored(sequence, result.seconds))
    return found


def to_json(report: Report) -> str:
    """The report with all sequences and curves; figures that do not exist are null."""
    content = {
        "label": report.label,
        "dataset": report.dataset,
        "tracker": dict(report.tracker),
        "figures": report.figures(),
        "attributes": report.attributes(),
        "attributes_derived_from_boxes": report.derived,
        "comparisons": {
            label: {
                d.metric: {"this": d.first, "other": d.second, "low": d.low, "high": d.high, "verdict": d.verdict}
                for d in differences
            }
            for label, differences in report.comparisons.items()
        },
        "curves": {
            name: {"thresholds": values.tolist(), "shares": curve(report.scores, name).tolist()}
            for name, values in THRESHOLDS.items()
            if report.labelled
        },
        "sequences": {s.name: {"frames": s.frames, **figures([s])} for s in report.scores},
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(report: Report) -> str:
    """One line a sequence and a last one for all, with every metric."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["sequence", "frames", "attributes", *report.columns])
    for s in report.scores:
        values = figures([s])
        writer.writerow([s.name, s.frames, " ".join(s.attributes), *(_plain(values[k]) for k in report.columns)])
    whole = report.figures()
    writer.writerow(["all", sum(s.frames for s in report.scores), "", *(_plain(whole[k]) for k in report.columns)])
    return stream.getvalue()


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def text(key: str, value: float) -> str:
    """A figure as tables show it."""
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" if key in _SPEEDS else f"{value:.3f}"


def to_markdown(report: Report) -> str:
    """The report to paste into an issue or a model card."""
    keys = report.columns
    parts = [
        f"# {report.label} on {report.dataset}",
        _markdown([""] + [METRICS[k] for k in keys], [["all", *(text(k, report.figures()[k]) for k in keys)]]),
    ]
    if report.attributes():
        source = ", computed from the boxes" if report.derived else ""
        rows = [
            [f"{name} ({NAMES[name]})", f"{row['sequences']:.0f}", *(text(k, row[k]) for k in _BY_ATTRIBUTE)]
            for name, row in report.attributes().items()
        ]
        head = ["attribute", "sequences", *(METRICS[k] for k in _BY_ATTRIBUTE)]
        parts += [f"## By attribute{source}", _markdown(head, rows)]
    for label, differences in report.comparisons.items():
        rows = [_difference_row(d) for d in differences]
        head = ["", report.label, label, "difference", "95 % interval", ""]
        parts += [f"## Against {label} (paired bootstrap over sequences)", _markdown(head, rows)]
    rows = [[s.name, str(s.frames), *(text(k, figures([s])[k]) for k in keys)] for s in report.scores]
    parts += ["## By sequence", _markdown(["sequence", "frames", *(METRICS[k] for k in keys)], rows), DEFINITIONS]
    return "\n\n".join(parts) + "\n"


def _difference_row(d: Difference) -> list[str]:
    digits = 1 if d.metric in _SPEEDS else 3
    interval = f"{d.low:+.{digits}f} … {d.high:+.{digits}f}"
    return [
        METRICS[d.metric],
        text(d.metric, d.first),
        text(d.metric, d.second),
        f"{d.difference:+.{digits}f}",
        interval,
        d.verdict,
    ]


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def to_tables(report: Report) -> list[Table]:
    """The report for a terminal: figures down, so that it fits; then comparisons."""
    main = Table("", report.label, title=f"{report.dataset}, {len(report.scores)} sequences", title_justify="left")
    for key in report.columns:
        main.add_row(METRICS[key], text(key, report.figures()[key]))
    tables = [main]
    for label, differences in report.comparisons.items():
        table = Table(
            "", report.label, label, "difference", "95 % interval", "", title="paired bootstrap", title_justify="left"
        )
        for d in differences:
            table.add_row(*_difference_row(d))
        tables.append(table)
    return tables


def write_reports(report: Report, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``report.csv`` into a folder, each whole."""
    write_whole(folder / "report.json", to_json(report))
    write_whole(folder / "report.md", to_markdown(report))
    write_whole(folder / "report.csv", to_csv(report))
