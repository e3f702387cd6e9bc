"""A run's figures as an object, and that object as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import write_whole
from .attributes import NAMES
from .bootstrap import FEWEST_FOR_A_VERDICT, Difference
from .metrics import (
    METRICS,
    NORMALISED_THRESHOLDS,
    PRECISION_THRESHOLDS,
    RULES,
    SUCCESS_THRESHOLDS,
    OpeRule,
    SequenceScore,
    by_attribute,
    curve,
    figures,
    latency,
    score,
    unscored,
)
from .results import ResultsFolder
from .sequence import Dataset

_SPEEDS = ("fps_mean", "fps_total")
_TRACKINGNET_ONLY = "precision_area_50"
_BY_ATTRIBUTE = ("ao", "success_auc", "precision_20", "failure_rate")
THRESHOLDS = {"success": SUCCESS_THRESHOLDS, "precision": PRECISION_THRESHOLDS, "normalised": NORMALISED_THRESHOLDS}
"""Thresholds by curve."""

NO_VERDICT = f"no verdict below {FEWEST_FOR_A_VERDICT} sequences"
"""What stands in the place of a verdict where there are too few sequences for one."""

DEFINITIONS = (
    "AO, SR0.5 and SR0.75 follow GOT-10k: frames of all sequences pooled, first frames dropped, boxes clipped to the "
    "frame; beside it stands the mean of every sequence's AO. Success AUC (21 thresholds), precision and normalised "
    "precision are means over sequences. Normalised precision has two conventions: its value at 0.2 (LaSOT) and the "
    "area under its curve to 0.5 (TrackingNet). Failure rate is the share of frames whose IoU with the ground truth is "
    "zero, a definition of this project: MVT's paper plots a failure rate without defining it. Speed counts the "
    "tracker's own time, without reading images: the mean of every frame's 1 / time (as the toolkits give it), frames "
    "over total time, and percentiles of the time of an update."
)


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """Everything that is said of a run.

    Args:
        label: Label of the tracker.
        dataset: Name of the benchmark.
        format: Format of the dataset.
        scores: One score per sequence.
        derived: True if attributes were computed from the boxes and are not the benchmark's labels.
        tracker: What was run, as ``run.json`` has it.
        comparisons: Differences to other runs, by the label of the other run.
        notes: Sentences that a reader of the figures has to know.
    """

    label: str
    dataset: str
    format: str
    scores: list[SequenceScore]
    derived: bool = False
    tracker: Mapping[str, Any] = field(default_factory=dict)
    comparisons: Mapping[str, list[Difference]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """False if the ground truth is on the benchmark's server only, so that speed is all that can be reported."""
        return any(s.curves for s in self.scores)

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys of the metrics that get a column."""
        if not self.labelled:
            return _SPEEDS
        return tuple(key for key in METRICS if key != _TRACKINGNET_ONLY or self.format == "trackingnet")

    def figures(self) -> dict[str, float]:
        """Compute the run's figures by metric key."""
        return figures(self.scores)

    def latency(self) -> dict[str, float]:
        """Compute the percentiles of the time of an update, in milliseconds: see :func:`.metrics.latency`."""
        return latency(self.scores)

    def attributes(self) -> dict[str, dict[str, float]]:
        """Compute the number of sequences and the figures by attribute."""
        return {
            name: {"sequences": len(having), **{key: figures(having)[key] for key in _BY_ATTRIBUTE}}
            for name, having in by_attribute(self.scores).items()
            if self.labelled
        }


def scores_of(dataset: Dataset, folder: ResultsFolder) -> list[SequenceScore]:
    """Score a run's result files.

    Raises:
        ResultError: A sequence has no whole result.
    """
    rule = RULES.get(dataset.format, OpeRule())
    found = []
    for sequence in dataset.sequences:
        result = folder.read(sequence)
        if dataset.labelled:
            found.append(score(sequence, result.boxes, result.seconds, rule))
        else:
            found.append(unscored(sequence, result.seconds))
    return found


def to_json(report: EvaluationReport) -> str:
    """Format a report with all sequences and curves; figures that do not exist are null."""
    content = {
        "label": report.label,
        "dataset": report.dataset,
        "tracker": dict(report.tracker),
        "notes": list(report.notes),
        "figures": report.figures(),
        "latency_ms": report.latency(),
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
        "sequences": {s.name: {"frames": s.frames, **figures([s]), "latency_ms": latency([s])} for s in report.scores},
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(report: EvaluationReport) -> str:
    """Format one line per sequence and a last one for all, with every metric."""
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
    """Format a figure as tables show it.

    Args:
        key: A metric key.
        value: The figure; NaN becomes a dash.
    """
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" if key in _SPEEDS else f"{value:.3f}"


def latency_text(percentiles: Mapping[str, float]) -> str:
    """Format percentiles of the latency on one line, or a dash where no frame was timed."""
    if any(math.isnan(value) for value in percentiles.values()):
        return "–"
    return ", ".join(f"{name} {value:.1f}" for name, value in percentiles.items()) + " ms"


def difference_row(d: Difference) -> list[str]:
    """Format a difference as a row of a table: metric, this run, other run, difference, interval, verdict."""
    digits = 1 if d.metric in _SPEEDS else 3
    return [
        METRICS[d.metric],
        text(d.metric, d.first),
        text(d.metric, d.second),
        f"{d.difference:+.{digits}f}",
        f"{d.low:+.{digits}f} … {d.high:+.{digits}f}",
        d.verdict or "",
    ]


def to_markdown(report: EvaluationReport) -> str:
    """Format a report to be pasted into an issue or a model card."""
    keys = report.columns
    parts = [
        f"# {report.label} on {report.dataset}",
        *(f"> {note}" for note in report.notes),
        _markdown([""] + [METRICS[k] for k in keys], [["all", *(text(k, report.figures()[k]) for k in keys)]]),
        f"Time of an update: {latency_text(report.latency())}.",
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
        rows = [difference_row(d) for d in differences if d.metric in keys]
        head = ["", report.label, label, "difference", "95 % interval", "verdict"]
        parts.append(f"## Against {label} (paired bootstrap over sequences)")
        if any(d.verdict is None for d in differences):
            head, rows = head[:-1], [row[:-1] for row in rows]
            parts.append(f"Intervals of {len(report.scores)} sequences: {NO_VERDICT}.")
        parts.append(_markdown(head, rows))
    rows = [[s.name, str(s.frames), *(text(k, figures([s])[k]) for k in keys)] for s in report.scores]
    parts += ["## By sequence", _markdown(["sequence", "frames", *(METRICS[k] for k in keys)], rows), DEFINITIONS]
    return "\n\n".join(parts) + "\n"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def write_reports(report: EvaluationReport, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``report.csv`` into a folder, each whole.

    Raises:
        OSError: A file cannot be written.
    """
    write_whole(folder / "report.json", to_json(report))
    write_whole(folder / "report.md", to_markdown(report))
    write_whole(folder / "report.csv", to_csv(report))
