"""Tables and lines that the commands print."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Column, Table

from ..bench.machine import one_line
from ..bench.report import cells
from ..bundle import Bundle, Gate
from ..doctor import Finding
from ..evaluation.metrics import METRICS
from ..evaluation.report import NO_VERDICT, EvaluationReport, difference_row, latency_text, text

if TYPE_CHECKING:
    from ..quantize.sensitivity import LayerError  # which needs onnx


def evaluation_tables(report: EvaluationReport) -> Iterator[Table]:
    """Make the tables of an evaluation: its figures, one per line, and then one table per comparison.

    Labels of runs stand above the tables and not in their heads, where narrow columns would cut them.
    """
    main = Table("", Column("", justify="right"), show_header=False, title_justify="left")
    main.title = f"{report.label} on {report.dataset}, {len(report.scores)} sequences"
    for key in report.columns:
        main.add_row(METRICS[key], text(key, report.figures()[key]))
    main.add_row("time of an update", latency_text(report.latency()))
    yield main
    for label, differences in report.comparisons.items():
        decided = all(d.verdict is not None for d in differences)
        table = Table("", *(Column(name, justify="right") for name in ("this run", "other run", "difference")))
        table.add_column("95 % interval", justify="right")
        if decided:
            table.add_column("verdict")
        table.title, table.title_justify = f"this run: {report.label}\nother run: {label}", "left"
        table.caption = "paired bootstrap over sequences" + ("" if decided else f"; {NO_VERDICT}")
        for d in differences:
            if d.metric not in report.columns:
                continue
            table.add_row(*difference_row(d)[: len(table.columns)])
        yield table


def gate_json(gate: Gate) -> str:
    """Format the verdict's fields by name as JSON."""
    return json.dumps(asdict(gate), indent=1)


def gate_table(gate: Gate) -> Table:
    """Make the table of a verdict: one figure per line."""
    table = Table(title=f"candidate: {gate.candidate}\nreference: {gate.reference}", caption=gate.reason)
    table.title_justify = "left"
    table.add_column("")
    table.add_column(f"{gate.clips} clips, {gate.frames} frames", justify="right")
    interval = f"({gate.ao_drop_low:+.4f} to {gate.ao_drop_high:+.4f})"
    for name, value in (
        ("AO of the reference", f"{gate.ao_reference:.4f}"),
        ("AO of the candidate", f"{gate.ao_candidate:.4f}"),
        ("drop of AO", f"{gate.ao_drop:+.4f} {interval}"),
        ("drop of AO in the same windows", f"{gate.same_windows_drop:+.4f}"),
        ("limit", f"{gate.limit:g}"),
        ("mean IoU of the two trajectories", f"{gate.mean_iou:.4f}"),
        ("mean IoU in the same windows", f"{gate.same_windows_iou:.4f}"),
        ("worst clip", f"{gate.worst_clip.name} {gate.worst_clip.iou:.4f}"),
        ("score drift, mean and largest", f"{gate.score_drift:.4f}, {gate.score_drift_max:.4f}"),
        ("frames whose output is not finite", str(gate.nonfinite)),
        ("verdict", "passes" if gate.passed else "FAILS"),
    ):
        table.add_row(name, value)
    return table


def ranking_json(ranking: Sequence[LayerError]) -> str:
    """Layers by name with their errors, worst first."""
    return json.dumps([asdict(error) for error in ranking], indent=1)


def ranking_table(ranking: Sequence[LayerError], target: str, pairs: int) -> Table:
    """For the screen: worst first."""
    table = Table(title=f"int8 for {target}: each layer quantised alone, on {pairs} crops, against floating point")
    for name in ("layer", "operator"):
        table.add_column(name)
    for name in ("1 - IoU mean", "95%", "score mean", "largest"):
        table.add_column(name, justify="right")
    for error in ranking:
        figures = (error.box_mean, error.box_p95, error.score_mean, error.score_max)
        table.add_row(error.name, error.operator, *(f"{figure:.5f}" for figure in figures))
    return table


def export_lines(bundle: Bundle) -> Iterator[str]:
    """What an export made, a line a graph, and what the gate says of it."""
    for graph in bundle.manifest.graphs:
        if graph.role == "template" and graph.precision == "int8":
            continue  # a floating-point file listed again
        size = (bundle.folder / graph.file).stat().st_size / 1e6
        kept = f", {len(graph.calibration.kept)} layers kept" if graph.calibration and graph.calibration.kept else ""
        yield (
            f"  {graph.file:<25} {size:5.1f} MB   differs from PyTorch by {graph.parity.max_abs:.1e} at most "
            f"({graph.parity.box_px:.3f} px) on {graph.parity.cases} crops{kept}"
        )
    for gate in bundle.manifest.gates:
        yield (
            f"  {gate.candidate:<25} {'passes' if gate.passed else 'FAILS'}: {gate.reason}; trajectories "
            f"overlap fp32's by {gate.mean_iou:.3f} over {gate.clips} clips"
        )


def bench_tables(report: dict[str, Any], width: int | None = None) -> list[Table]:
    """The report of a benchmark: a column per row of the report, in as many tables as it takes to cut nothing.

    Args:
        report: See :func:`mvt_deploy.bench.report.build`.
        width: Width of the terminal, in characters; None where it is unlimited.
    """
    lines = cells(report)
    names = lines.pop("name")
    columns = [[name, *values] for name, *values in zip(names, *lines.values(), strict=True)]
    first = max(map(len, lines)) + 4  # the measures' column with its borders
    groups: list[list[int]] = [[]]
    for i in range(len(columns)):
        used = first + sum(max(map(len, columns[j])) + 3 for j in [*groups[-1], i])
        if groups[-1] and width is not None and used > width:
            groups.append([])
        groups[-1].append(i)
    tables = []
    for group in groups:
        table = Table()
        table.add_column("")
        for i in group:
            table.add_column(names[i], justify="right", no_wrap=True)
        for measure, values in lines.items():
            table.add_row(measure, *(values[i] for i in group))
        tables.append(table)
    read = report["clip"]["read"]
    tables[0].title = f"{one_line(report['machine'])}\n{report['clip']['name']}; medians over frames"
    tables[-1].caption = f"reading a frame: {read['median_ms']:.2f} ms" if read else None
    return tables


def findings_table(findings: Sequence[Finding]) -> Table:
    """What works on this machine; long lines are folded, and nothing is cut."""
    table = Table("", "feature", "found")
    for column in table.columns:
        column.overflow = "fold"
    for finding in findings:
        table.add_row("yes" if finding.works else "no", escape(finding.feature), escape(finding.detail))
    return table
