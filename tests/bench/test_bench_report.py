"""A report from latencies made by hand: its figures, its shape, and where it is written."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mvt_deploy.bench import report as reports
from mvt_deploy.bench.candidates import Candidate
from mvt_deploy.bench.clip import BenchClip
from mvt_deploy.bench.machine import describe
from mvt_deploy.bench.measure import Row
from mvt_deploy.bench.outputs import STDOUT, BenchFiles
from mvt_deploy.cli.tables import bench_tables
from mvt_deploy.errors import UserError
from mvt_deploy.geometry import Box


def row(name: str, candidate: Candidate, network: float, spread: float = 0.0) -> Row:
    made = Row(name, candidate, stages=None)  # type: ignore[arg-type]  # it has been measured already
    for i in range(6):
        seconds = network * (1 + spread * (-1) ** i)
        made.rounds.append([{"crop": 0.001, "network": seconds, "decode": 0.001, "total": seconds + 0.002}] * 5)
    return made


@pytest.fixture
def rows() -> list[Row]:
    ours = row("ort:cpu:fp32:t2:b2", Candidate(threads=2, batch=2), 0.010, spread=0.5)
    ours.template_seconds = [0.004, 0.006, 0.005]
    ours.model_bytes = 18_500_000
    ours.start_up = lambda: {"first_box_s": 0.41234, "peak_memory_mb": 160.25}
    return [row("published", Candidate(), 0.028), ours]


@pytest.fixture
def clip() -> BenchClip:
    return BenchClip("clip 64x48", [np.zeros((48, 64, 3), np.uint8)], Box(1, 1, 9, 9), [0.002, 0.004])


@pytest.fixture
def report(rows: list[Row], clip: BenchClip) -> dict[str, Any]:
    return reports.build(describe(), rows, clip)


def test_figures_and_shape(report: dict[str, Any]) -> None:
    first, ours = json.loads(json.dumps(report))["rows"]
    assert first["name"] == "published"
    assert {"name", "backend", "provider", "precision", "threads", "batch", "stages", "ratio"} <= set(ours)
    assert [ours[k] for k in ("backend", "provider", "precision", "threads", "batch")] == ["ort", "cpu", "fp32", 2, 2]
    for stage in ("crop", "network", "decode", "total"):
        assert {"median_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cov"} <= set(ours["stages"][stage])
    assert first["stages"]["total"]["median_ms"] == pytest.approx(30)
    assert first["ratio"] == {"value": 1, "low": 1, "high": 1}
    # rounds of 7 and 17 ms by turns, two targets each: 60/7 and 60/17
    assert ours["ratio"]["value"] == pytest.approx((60 / 7 + 60 / 17) / 2)
    assert ours["ratio"]["low"] == pytest.approx(60 / 17)
    assert ours["ratio"]["high"] == pytest.approx(60 / 7)
    assert ours["template"]["median_ms"] == pytest.approx(5)
    assert (ours["model_mb"], ours["first_box_s"], ours["peak_memory_mb"]) == (18.5, 0.412, 160.25)
    assert report["clip"]["read"]["median_ms"] == pytest.approx(3)


def test_only_unsteady_rows_are_warned_of(report: dict[str, Any]) -> None:
    (warning,) = reports.warnings(report)
    assert "ort:cpu:fp32:t2:b2 varies by 42%" in warning  # 5 ms about 12 ms


def test_texts(report: dict[str, Any], rows: list[Row]) -> None:
    lines = reports.markdown(report).splitlines()
    assert lines[2].startswith("| name | ratio |")
    assert lines[4].startswith("| published | 1.00 (1.00–1.00) | 28.00 |")
    cells = list(csv.DictReader(io.StringIO(reports.to_csv(report))))
    assert len(cells) == 8
    total = next(c for c in cells if c["name"].startswith("ort") and c["stage"] == "total")
    assert float(total["ratio_low"]) == pytest.approx(60 / 17)
    assert float(total["p99_ms"]) == pytest.approx(17)
    assert next(c for c in cells if c["stage"] == "crop")["ratio"] == ""  # no ratio of that stage is made
    report["unavailable"] = [{"name": "openvino:bf16:b1", "reason": "this processor has no bf16 arithmetic."}]
    assert reports.markdown(report).splitlines()[-1].startswith("| openvino:bf16:b1 | not measured: this processor")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(*bench_tables(report))
    shown = console.export_text()
    assert "template ms" in shown
    assert "reading a frame: 3.00 ms" in shown


def test_a_search_size_that_the_tracker_chooses_is_told_by_its_shares(rows: list[Row], clip: BenchClip) -> None:
    auto = row("ort:cpu:int8:auto:b1", Candidate(precision="int8", search_size="auto"), 0.01, spread=0.5)
    auto.sides.update([192, 192, 192, 256])
    report = reports.build(describe(), [rows[0], auto], clip)
    published, made = report["rows"]
    assert "sides" not in published
    assert (made["search_size"], made["sides"]) == ("auto", {"192": 0.75, "256": 0.25})
    assert reports.cells(report)["search sizes"] == ["", "192: 75%, 256: 25%"]
    assert reports.warnings(report) == []  # it varies on a quiet machine too
    assert {c["search_size"] for c in csv.DictReader(io.StringIO(reports.to_csv(report)))} == {"", "auto"}


@pytest.mark.parametrize("count", [1, 5])
def test_nothing_in_the_table_is_cut_at_80_columns(rows: list[Row], clip: BenchClip, count: int) -> None:
    """Neither a name nor a figure, however many rows there are."""
    many = rows[:1] + [row(f"ort:openvino:bf16:t{i}:b16", Candidate(), 0.01) for i in range(count)]
    report = reports.build(describe(), many, clip)
    console = Console(width=80, record=True, file=io.StringIO())
    for table in bench_tables(report, 80):
        console.print(table)
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for measured in report["rows"]:
        assert measured["name"] in shown
        assert f"{measured['ratio']['value']:.2f} ({measured['ratio']['low']:.2f}" in shown


def test_one_slow_row_does_not_squash_the_plot(rows: list[Row], clip: BenchClip, tmp_path: Path) -> None:
    """The fast rows' curves span a fair part of the picture, which names the machine."""
    pytest.importorskip("matplotlib")
    slow = row("torch:fp32:b1", Candidate("torch"), 0.9)
    slow.rounds[0][0]["total"] = 60.0  # one frame while the machine slept
    report = reports.build(describe(), [*rows, slow], clip)
    svg = reports.plot(report, [*rows, slow], tmp_path / "a.svg").decode()
    assert report["machine"]["cpu"].split()[0] in svg
    curves = [
        [float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", path)]
        for path in re.findall(r'<path d="([^"]*)" clip-path="[^"]*" style="fill: none; stroke: #(?!b0b0b0)', svg)
    ]
    left = min(min(xs) for xs in curves)
    right = max(x for xs in curves for x in xs if x < 576)
    assert len(curves) == 3
    assert max(curves[1]) - min(curves[1]) > 0.05 * (right - left)


def test_json_alone_is_on_stdout(
    report: dict[str, Any], rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    files = BenchFiles(STDOUT, tmp_path / "new" / "a.csv", tmp_path / "a.md", tmp_path / "a.svg")
    files.check()
    assert files.piped
    files.write(report, rows)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(report))
    assert (tmp_path / "new" / "a.csv").read_text() == reports.to_csv(report)
    assert (tmp_path / "a.md").read_text() == reports.markdown(report)
    assert "</svg>" in (tmp_path / "a.svg").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.md", "a.svg", "new"]  # no drafts left


def test_what_cannot_be_written_is_refused_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only one report"):
        BenchFiles(json=STDOUT, csv=STDOUT).check()
    with pytest.raises(UserError, match="cannot write"):
        BenchFiles(json=tmp_path).check()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        BenchFiles(markdown=tmp_path / "file" / "a.md").check()
    pytest.importorskip("matplotlib")
    with pytest.raises(UserError, match="png"):
        BenchFiles(plot=tmp_path / "a.doc").check()
