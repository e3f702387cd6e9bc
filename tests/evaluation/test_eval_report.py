"""What is said of a run: figures in every form, plots, the contact sheet and comparisons."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_trees import HEIGHT, Drift, got10k, plain
from rich.console import Console

from mvt_deploy.cli.tables import evaluation_tables
from mvt_deploy.errors import MissingExtra, UserError
from mvt_deploy.evaluation.bootstrap import compare_runs
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.evaluate import evaluate
from mvt_deploy.evaluation.metrics import METRICS, SequenceScore, figures
from mvt_deploy.evaluation.plots import write_plots
from mvt_deploy.evaluation.report import EvaluationReport, scores_of, to_csv, to_json, to_markdown
from mvt_deploy.evaluation.results import ResultsFolder
from mvt_deploy.evaluation.sheet import worst_frames

LENGTHS = {"a": 12, "b": 30, "c": 7, "d": 21}


def made_up(name: str, overlap: float, frames: int = 10, fps: float = 50.0) -> SequenceScore:
    parts = {
        "ao": (overlap * frames, float(frames)),
        "success_auc": (overlap, 1.0),
        "failure_rate": ((1 - overlap) * frames, float(frames)),
        "fps_total": (float(frames), frames / fps),
    }
    curves = {"success": np.full(21, overlap), "precision": np.full(51, overlap), "normalised": np.full(51, overlap)}
    return SequenceScore(
        name,
        frames,
        parts,
        curves,
        np.full(frames + 1, overlap),
        ("SV",) if name < "c" else ("LR", "SV"),
        np.full(frames + 1, 1 / fps),
    )


@pytest.fixture
def report() -> EvaluationReport:
    scores = [made_up("a", 0.2), made_up("b", 0.4, 30), made_up("c", 0.9)]
    other = [made_up("c", 0.3), made_up("b", 0.2, 30), made_up("a", 0.1)]
    return EvaluationReport(
        "ours",
        "clips",
        "folder",
        scores,
        True,
        {"backend": "ort"},
        {"theirs": compare_runs(scores, other)},
        ("seen before.",),
    )


@pytest.mark.slow
def test_evaluate_writes_everything_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    dataset = open_dataset(plain(tmp_path / "data", LENGTHS))
    first = evaluate(dataset, Drift(0.0), {"label": "still"}, tmp_path / "still")
    again = evaluate(dataset, pytest.fail, {"label": "still"}, tmp_path / "still")  # needs no tracker any more
    assert again.figures() == first.figures()
    second = evaluate(dataset, Drift(3.0), {"label": "drift"}, tmp_path / "drift", against=[tmp_path / "still"])
    assert second.figures()["ao"] < first.figures()["ao"]
    written = {p.name for p in (tmp_path / "drift").iterdir()}
    plots = {"success.png", "precision.png", "normalised.png", "failure_by_attribute.png"}
    assert written == {"run.json", "results", "report.json", "report.md", "report.csv", "worst.jpg"} | plots
    for name in plots:
        image = cv2.imread(str(tmp_path / "drift" / name))
        assert image is not None
        assert image.std() > 5
    (difference,) = [d for d in second.comparisons["still"] if d.metric == "ao"]
    assert difference.difference == pytest.approx(second.figures()["ao"] - first.figures()["ao"])
    saved = json.loads((tmp_path / "drift" / "report.json").read_text())
    assert saved["figures"]["ao"] == pytest.approx(second.figures()["ao"])


def test_a_refused_run_leaves_nothing_and_a_broken_one_its_results(tmp_path: Path) -> None:
    def refuse() -> object:
        raise UserError("there is no such backend.")

    dataset = open_dataset(plain(tmp_path / "data", {"a": 4, "b": 5}))
    with pytest.raises(UserError, match="no such backend"):
        evaluate(dataset, refuse, {"label": "x"}, tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
    evaluate(dataset, Drift(), {"label": "x"}, tmp_path / "run", plots=False)
    (tmp_path / "run" / "results" / "b.txt").unlink()
    with pytest.raises(UserError, match="no such backend"):
        evaluate(dataset, refuse, {"label": "x"}, tmp_path / "run")  # type: ignore[arg-type]
    assert (tmp_path / "run" / "results" / "a.txt").is_file()
    assert (tmp_path / "run" / "run.json").is_file()


def test_runs_of_one_tracker_are_told_apart_by_folder(tmp_path: Path) -> None:
    dataset = open_dataset(plain(tmp_path / "data", {"a": 4, "b": 5}))
    evaluate(dataset, Drift(), {"label": "same"}, tmp_path / "one", plots=False)
    report = evaluate(dataset, Drift(), {"label": "same"}, tmp_path / "two", plots=False, against=[tmp_path / "one"])
    assert list(report.comparisons) == ["same (one)"]
    assert {d.difference for d in report.comparisons["same (one)"] if not d.metric.startswith("fps")} == {0.0}


def test_a_test_split_gives_speed_and_an_archive(tmp_path: Path) -> None:
    dataset = open_dataset(got10k(tmp_path / "data", {"GOT-10k_Test_000001": 5}, split="test"))
    report = evaluate(dataset, Drift(), {"label": "ours"}, tmp_path / "run")
    assert report.columns == ("fps_mean", "fps_total")
    assert report.figures()["fps_total"] > 0
    assert {p.name for p in (tmp_path / "run").glob("*.zip")} == {"submission-got10k.zip"}
    saved = json.loads((tmp_path / "run" / "report.json").read_text())
    assert saved["figures"]["ao"] is None
    assert "GOT-10k test" in (tmp_path / "run" / "report.md").read_text()
    with pytest.raises(UserError, match="is not public"):
        evaluate(dataset, Drift(), {"label": "ours"}, tmp_path / "run", against=[tmp_path / "run"])


def test_json_has_all_and_no_nan(report: EvaluationReport) -> None:
    content = json.loads(to_json(report))
    assert content["figures"]["ao"] == pytest.approx((2 + 12 + 9) / 50)
    assert content["figures"]["sr_50"] is None
    assert set(content["figures"]) == set(METRICS)
    assert content["attributes"]["LR"] == pytest.approx(
        {"sequences": 1, "ao": 0.9, "success_auc": 0.9, "precision_20": None, "failure_rate": 0.1}, nan_ok=True
    )
    assert content["attributes_derived_from_boxes"] is True
    assert content["comparisons"]["theirs"]["ao"]["verdict"] is None  # three sequences decide nothing
    assert content["comparisons"]["theirs"]["ao"]["low"] > 0
    assert content["latency_ms"] == pytest.approx({"p50": 20, "p90": 20, "p95": 20, "p99": 20})
    assert content["notes"] == ["seen before."]
    assert content["curves"]["success"]["shares"] == pytest.approx([0.5] * 21)
    assert content["sequences"]["b"]["frames"] == 30


def test_csv_has_a_line_a_sequence_and_one_for_all(report: EvaluationReport) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [r["sequence"] for r in rows] == ["a", "b", "c", "all"]
    assert [r["ao"] for r in rows] == ["0.200000", "0.400000", "0.900000", "0.460000"]
    assert rows[2]["attributes"] == "LR SV"
    assert rows[0]["sr_50"] == ""


def test_markdown_and_tables_say_the_same(report: EvaluationReport) -> None:
    markdown = to_markdown(report)
    assert "| all | 0.460 |" in markdown
    assert "| LR (low resolution) | 1 | 0.900 |" in markdown
    assert "computed from the boxes" in markdown
    assert "## Against theirs (paired bootstrap over sequences)" in markdown
    assert "share of frames whose IoU with the ground truth is zero" in markdown
    console = Console(width=160, file=io.StringIO(), record=True)
    for table in evaluation_tables(report):
        console.print(table)
    shown = console.export_text()
    assert "0.460" in shown
    assert "no verdict below 10 sequences" in shown
    assert "better" not in shown
    assert "p50 20.0, p90 20.0, p95 20.0, p99 20.0 ms" in shown
    assert "p50 20.0, p90 20.0, p95 20.0, p99 20.0 ms" in markdown
    assert "> seen before." in markdown
    assert "3 sequences: no verdict below 10 sequences" in markdown


def test_an_interval_leaves_out_zero_only_for_a_real_difference() -> None:
    random = np.random.default_rng(0)
    base = random.uniform(0.3, 0.7, 40)
    first = [made_up(f"s{i}", v) for i, v in enumerate(base)]
    better = [made_up(f"s{i}", v + 0.05) for i, v in enumerate(base)]
    noise = [made_up(f"s{i}", v + e) for i, (v, e) in enumerate(zip(base, random.normal(0, 0.05, 40), strict=True))]
    found = {d.metric: d for d in compare_runs(better, first)}
    assert found["ao"].difference == pytest.approx(0.05)
    assert (found["ao"].low, found["ao"].high) == pytest.approx((0.05, 0.05))  # paired: no spread is left
    assert (found["ao"].verdict, found["failure_rate"].verdict) == ("better", "better")  # fewer failures are better
    assert compare_runs(first, better)[0].verdict == "worse"
    hair = [made_up(f"s{i}", v + 1e-6) for i, v in enumerate(base)]
    assert compare_runs(hair, first)[0].verdict == "no difference shown"  # below what result files resolve
    unclear = {d.metric: d for d in compare_runs(noise, first)}["ao"]
    assert unclear.low < 0 < unclear.high
    assert unclear.verdict == "no difference shown"
    assert (unclear.high - unclear.low) == pytest.approx(2 * 1.96 * 0.05 / np.sqrt(40), rel=0.3)
    assert compare_runs(noise, first) == compare_runs(noise, first)  # the same seed, the same interval


def test_below_ten_sequences_there_is_no_verdict() -> None:
    def runs(count: int) -> tuple[list[SequenceScore], list[SequenceScore]]:
        return [made_up(f"s{i}", 0.6) for i in range(count)], [made_up(f"s{i}", 0.4) for i in range(count)]

    few, many = compare_runs(*runs(9))[0], compare_runs(*runs(10))[0]
    assert (few.verdict, many.verdict) == (None, "better")
    assert (few.low, few.high) == pytest.approx((0.2, 0.2))  # the interval is there all the same


@pytest.mark.parametrize("count", [3, 12])
def test_nothing_that_tells_runs_apart_is_cut_at_80_columns(count: int) -> None:
    scores = [made_up(f"s{i}", 0.5) for i in range(count)]
    labels = [f"mine-ort-cpu-int8-{'x' * 60}{end}" for end in ("a", "b", "c")]
    compared = {label: compare_runs(scores, scores) for label in labels[1:]}
    report = EvaluationReport(labels[0], "a benchmark", "folder", scores, comparisons=compared)
    console = Console(width=80, file=io.StringIO(), record=True)
    for table in evaluation_tables(report):
        console.print(table)
    shown = console.export_text()
    assert "…" not in shown.replace(" … ", "")  # what is cut ends in an ellipsis; intervals hold one between blanks
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.replace("\n", "").count(labels[0]) == 3
    assert all(label in shown.replace("\n", "") for label in labels)
    assert all(name in shown for name in ("success AUC", "norm. precision (area to 0.5)", "fps (frames / time)"))


def test_runs_with_other_sequences_are_not_compared() -> None:
    with pytest.raises(UserError, match="same sequences"):
        compare_runs([made_up("a", 0.5)], [made_up("b", 0.5)])


def test_worst_frames_come_from_every_sequence_first() -> None:
    def with_overlaps(name: str, values: list[float]) -> SequenceScore:
        return SequenceScore(name, len(values), {}, {}, np.array(values))

    bad = with_overlaps("bad", [1.0, *[0.0] * 60])
    single = with_overlaps("single", [0.0, 0.9, 0.4, np.nan, 0.8])  # its first frame is given and does not count
    good = with_overlaps("good", [1.0, 0.8, 0.9])
    chosen = worst_frames([good, single, bad], most=3)
    assert chosen[:2] == [("bad", 1), ("single", 2)]
    assert chosen[2][0] == "bad"
    assert chosen[2][1] >= 16
    assert worst_frames([good]) == []


def test_the_sheet_shows_both_boxes(tmp_path: Path) -> None:
    dataset = open_dataset(plain(tmp_path / "data", {"a": 12}))
    evaluate(dataset, Drift(4.0), {"label": "x"}, tmp_path / "run", plots=False)
    sheet = cv2.imread(str(tmp_path / "run" / "worst.jpg"))
    assert sheet is not None
    assert sheet.shape[1] % 320 == 0
    blue, green, red = (sheet[..., i].astype(int) for i in range(3))
    assert ((green > 150) & (red < 80) & (blue < 80)).any()
    assert ((red > 150) & (green < 80) & (blue < 80)).any()
    assert sheet.shape[0] > HEIGHT


def test_plots_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"mvt-deploy\[eval\]"):
        write_plots({"x": [made_up("a", 0.5)]}, "t", tmp_path)


def test_scores_come_from_the_files(tmp_path: Path) -> None:
    dataset = open_dataset(plain(tmp_path / "data", {"a": 6}))
    evaluate(dataset, Drift(0.0), {"label": "x"}, tmp_path / "run", plots=False)
    truth = dataset.sequences[0].truth
    np.savetxt(tmp_path / "run" / "results" / "a.txt", truth, fmt="%.3f", delimiter=",")
    found = figures(scores_of(dataset, ResultsFolder(tmp_path / "run")))
    assert (found["ao"], found["sr_75"], found["failure_rate"]) == pytest.approx((1, 1, 0))
