"""The metrics against the benchmarks' own toolkits, on the same result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_trees import HEIGHT, WIDTH, disturbed, got10k, otb, walk, write_frames, write_rows
from hypothesis import given
from hypothesis import strategies as st

from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.metrics import (
    RULES,
    OpeRule,
    by_attribute,
    centre_errors,
    curve,
    figures,
    ope_errors,
    score,
    success_curve,
    unscored,
)
from mvt_deploy.evaluation.report import scores_of
from mvt_deploy.evaluation.results import ResultsFolder, SequenceResult, table
from mvt_deploy.evaluation.sequence import Dataset, Sequence
from mvt_deploy.overlap import got10k_overlaps

CLOSE: Any = {"abs": 1e-6, "rel": 0}


def fill(dataset: Dataset, folder: ResultsFolder, spread: float = 4.0) -> dict[str, SequenceResult]:
    """Result files of an imaginary tracker."""
    made = {}
    for index, sequence in enumerate(dataset.sequences):
        truth = np.vstack([sequence.truth[:1]] * len(sequence.frames)) if not sequence.labelled else sequence.truth
        seconds = np.random.default_rng(index).uniform(0.01, 0.05, len(sequence.frames))
        seconds[0] = 0  # as a toolkit writes it for a tracker that is not timed at the start
        made[sequence.name] = SequenceResult(disturbed(truth, index, spread), np.full(len(truth), 0.5), seconds)
        folder.write(sequence, made[sequence.name])
    return made


def made_up(truth: Any, name: str = "s") -> Sequence:
    return Sequence(
        name, tuple(Path(f"{i}.jpg") for i in range(len(truth))), np.array(truth, float), size=(WIDTH, HEIGHT)
    )


def test_got10k_figures_are_the_toolkits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    experiments = pytest.importorskip("got10k.experiments")
    names = {"GOT-10k_Val_000001": 40, "GOT-10k_Val_000002": 25, "GOT-10k_Val_000003": 60}
    root = got10k(tmp_path / "data", names, hidden={"GOT-10k_Val_000001": [3, 4, 30]})
    dataset, folder = open_dataset(root), ResultsFolder(tmp_path / "run")
    results = fill(dataset, folder)
    for name, result in results.items():  # the same files where the toolkit looks for them
        place = tmp_path / "results" / "GOT-10k" / "ours" / name
        place.mkdir(parents=True)
        (place / f"{name}_001.txt").write_text(table(result.boxes, "%.3f"))
        (place / f"{name}_time.txt").write_text(table(result.seconds, "%.8f"))
    experiment = experiments.ExperimentGOT10k(
        str(root), subset="val", result_dir=str(tmp_path / "results"), report_dir=str(tmp_path / "reports")
    )
    theirs = experiment.report(["ours"])["ours"]
    scores = scores_of(dataset, folder)
    ours = figures(scores)
    assert 0.1 < ours["ao"] < 0.9
    assert ours["ao"] == pytest.approx(theirs["overall"]["ao"], **CLOSE)
    assert ours["sr_50"] == pytest.approx(theirs["overall"]["sr"], **CLOSE)
    assert ours["fps_mean"] == pytest.approx(theirs["overall"]["speed_fps"], abs=1e-4)
    assert ours["sr_75"] == pytest.approx(theirs["overall"]["succ_curve"][75], abs=1e-6)
    for s in scores:
        assert figures([s])["ao"] == pytest.approx(theirs["seq_wise"][s.name]["ao"], **CLOSE)
    spread = [theirs["seq_wise"][s.name]["ao"] for s in scores]
    assert ours["ao_by_sequence"] == pytest.approx(np.mean(spread), **CLOSE)


@given(st.lists(st.tuples(*[st.floats(-80, 120)] * 2, *[st.floats(0.5, 90)] * 2), min_size=3, max_size=6))
def test_overlaps_and_centre_errors_are_the_toolkits(rows: list[tuple[float, ...]]) -> None:
    toolkit = pytest.importorskip("got10k.utils.metrics")
    found, truth = np.array(rows), walk(len(rows))
    theirs = toolkit.rect_iou(found[1:].copy(), truth[1:].copy(), bound=(WIDTH, HEIGHT))
    assert got10k_overlaps(found, truth, (WIDTH, HEIGHT)) == pytest.approx(theirs, **CLOSE)
    assert centre_errors(found, truth) == pytest.approx(toolkit.center_error(found, truth), abs=1e-6)


def test_otb_figures_are_the_toolkits(tmp_path: Path) -> None:
    experiments, datasets = pytest.importorskip("got10k.experiments"), pytest.importorskip("got10k.datasets")
    root = tmp_path / "data"
    for index, (name, length) in enumerate({"Boy": 50, "Car1": 30, "Dog": 45}.items()):
        otb(root, name, range(1, length + 1), walk(length, index))
    dataset, folder = open_dataset(root), ResultsFolder(tmp_path / "run")
    for name, result in fill(dataset, folder, 6.0).items():
        write_rows(tmp_path / "results" / "ours" / f"{name}.txt", result.boxes)
    experiment = object.__new__(experiments.ExperimentOTB)  # its constructor downloads
    experiment.dataset = datasets.OTB(str(root), download=False)
    experiment.result_dir, experiment.report_dir = str(tmp_path / "results"), str(tmp_path / "reports")
    experiment.nbins_iou, experiment.nbins_ce = 21, 51
    theirs = experiment.report(["ours"])["ours"]
    scores = scores_of(dataset, folder)
    ours = figures(scores)
    assert ours["success_auc"] == pytest.approx(theirs["overall"]["success_score"], **CLOSE)
    assert ours["precision_20"] == pytest.approx(theirs["overall"]["precision_score"], **CLOSE)
    assert curve(scores, "success") == pytest.approx(theirs["overall"]["success_curve"], **CLOSE)
    assert curve(scores, "precision") == pytest.approx(theirs["overall"]["precision_curve"], **CLOSE)
    assert 0.1 < ours["success_auc"] < 0.9


def matlab(
    found: np.ndarray, truth: np.ndarray, absent: np.ndarray, normalised: bool
) -> tuple[list[float], list[float]]:
    """The success and precision curves of the LaSOT toolkit (and of UAV123's, without ``absent``), frame by frame."""
    found = found.copy()
    found[0] = truth[0]
    overlaps, errors = [], []
    for box, true, gone in zip(found, truth, absent, strict=True):
        if gone:
            continue
        if not all(v > 0 for v in true):
            overlaps.append(-1.0)
            errors.append(-1.0)
            continue
        width = min(box[0] + box[2] - 1, true[0] + true[2] - 1) - max(box[0], true[0]) + 1
        height = min(box[1] + box[3] - 1, true[1] + true[3] - 1) - max(box[1], true[1]) + 1
        inter = max(width, 0) * max(height, 0)
        overlaps.append(inter / (box[2] * box[3] + true[2] * true[3] - inter))
        away = [(box[i] + (box[i + 2] - 1) / 2) - (true[i] + (true[i + 2] - 1) / 2) for i in (0, 1)]
        if normalised:
            away = [away[0] / true[2], away[1] / true[3]]
        errors.append(float(np.hypot(*away)))
    success = [sum(o > t for o in overlaps) / len(truth) for t in np.arange(21) * 0.05]
    scale = 100 if normalised else 1
    return success, [sum(e <= t / scale for e in errors) / len(truth) for t in range(51)]


def test_lasot_rule_is_its_toolkits() -> None:
    truth = walk(80, 3)
    absent = np.zeros(80, bool)
    absent[[5, 6, 40]] = True
    truth[absent] = 0
    truth[20, 0] = -2.0  # visible, but not all of x, y, w, h above zero
    found = disturbed(np.where(absent[:, None], np.nan, truth), 4, 2.0)
    seen = score(made_up(np.where(absent[:, None], np.nan, truth)), found, np.ones(80), RULES["lasot"])
    success, precision = matlab(found, truth, absent, normalised=False)
    _, normalised = matlab(found, truth, absent, normalised=True)
    assert seen.curves["success"] == pytest.approx(success, **CLOSE)
    assert seen.curves["precision"] == pytest.approx(precision, **CLOSE)
    assert seen.curves["normalised"] == pytest.approx(normalised, **CLOSE)
    ours = figures([seen])
    assert ours["success_auc"] == pytest.approx(np.mean(success), **CLOSE)
    assert ours["precision_20"] == pytest.approx(precision[20], **CLOSE)
    assert ours["normalised_precision_at_0.2"] == pytest.approx(normalised[20], **CLOSE)


def test_uav123_rule_is_its_toolkits_and_equals_got10k_where_nothing_is_absent(tmp_path: Path) -> None:
    truth = walk(60, 5)
    truth[[7, 8, 9]] = np.nan
    found = disturbed(truth, 6)
    seen = score(made_up(truth), found, np.ones(60), RULES["uav123"])
    success, precision = matlab(found, truth, np.zeros(60, bool), normalised=False)
    assert seen.curves["success"] == pytest.approx(success, **CLOSE)
    assert seen.curves["precision"] == pytest.approx(precision, **CLOSE)
    experiments = pytest.importorskip("got10k.experiments")
    whole = walk(60, 5)
    experiment = object.__new__(experiments.ExperimentUAV123)
    experiment.nbins_iou, experiment.nbins_ce = 21, 51
    start = np.vstack([whole[:1], found[1:]])
    theirs = experiment._calc_curves(*experiment._calc_metrics(start, whole))
    ours = score(made_up(whole), found, np.ones(60), RULES["uav123"])
    assert ours.curves["success"] == pytest.approx(theirs[0], **CLOSE)
    assert ours.curves["precision"] == pytest.approx(theirs[1], **CLOSE)


def test_trackingnet_rule_is_its_development_kits() -> None:
    truth = walk(70, 8)
    found = disturbed(truth, 9, 2.0)
    kit = {"success": np.zeros(21), "precision": np.zeros(21), "normalised": np.zeros(21)}
    whole_truth, whole_found = np.round(truth), np.round(np.vstack([truth[:1], found[1:]]))
    for box, true in zip(whole_found, whole_truth, strict=True):
        low, high = np.maximum(box[:2], true[:2]), np.minimum(box[:2] + box[2:] - 1, true[:2] + true[2:] - 1)
        inter = float(np.prod(np.clip(np.round(high - low + 1), 0, None)))
        overlap = inter / (true[2] * true[3] + box[2] * box[3] - inter)
        away = (box[:2] + (box[2:] + 1) / 2) - (true[:2] + (true[2:] + 1) / 2)
        kit["success"] += overlap > np.linspace(0, 1, 21)
        kit["precision"] += np.sqrt((away**2).sum()) <= np.linspace(0, 50, 21)
        kit["normalised"] += np.sqrt(((away / true[2:]) ** 2).sum()) <= np.linspace(0, 0.5, 21)
    trapezoid = getattr(np, "trapezoid", None) or np.trapz  # type: ignore[attr-defined, unused-ignore]  # its name before NumPy 2
    expected = {key: trapezoid(hits / 70, np.linspace(0, 1, 21)) for key, hits in kit.items()}
    ours = figures([score(made_up(truth), found, np.ones(70), RULES["trackingnet"])])
    assert ours["success_auc"] == pytest.approx(expected["success"], **CLOSE)
    assert ours["precision_area_50"] == pytest.approx(expected["precision"], **CLOSE)
    assert ours["normalised_precision_area_0.5"] == pytest.approx(expected["normalised"], **CLOSE)


def test_failure_rate_counts_frames_without_overlap() -> None:
    truth = np.tile([10.0, 10, 10, 10], (6, 1))
    truth[4] = np.nan
    found = truth.copy()
    found[[0, 4]] = 1.0  # neither the first frame nor an absent target counts
    found[1, 0] = 20  # touches: no overlap
    found[2, 0] = 19
    ours = figures([score(made_up(truth), found, np.ones(6), OpeRule())])
    assert ours["failure_rate"] == pytest.approx(1 / 4)


def test_absent_targets_drop_out_or_miss() -> None:
    truth = np.tile([10.0, 10, 10, 10], (4, 1))
    truth[2:] = np.nan
    found = np.tile([10.0, 10, 10, 10], (4, 1))
    assert figures([score(made_up(truth), found, np.ones(4), OpeRule())])["precision_20"] == 1.0
    assert figures([score(made_up(truth), found, np.ones(4), OpeRule(absent="miss"))])["precision_20"] == 0.5
    hits = ope_errors(found, truth, OpeRule(undefined_hits=True))
    assert (hits.length, (hits.centre <= 0).sum(), (hits.overlap > 0.5).sum()) == (4, 4, 2)


def test_pooled_figures_weigh_frames_and_the_others_sequences() -> None:
    good, bad = np.tile([10.0, 10, 10, 10], (11, 1)), np.tile([10.0, 10, 10, 10], (2, 1))
    away = bad.copy()
    away[1, 0] += 30
    scores = [
        score(made_up(good, "good"), good, np.full(11, 0.1), OpeRule()),
        score(made_up(bad, "bad"), away, np.full(2, 0.4), OpeRule()),
    ]
    ours = figures(scores)
    assert ours["ao"] == pytest.approx(10 / 11)
    assert ours["ao_by_sequence"] == pytest.approx(0.5)
    assert ours["precision_20"] == pytest.approx(0.75)
    assert ours["fps_mean"] == pytest.approx((11 * 10 + 2 * 2.5) / 13)
    assert ours["fps_total"] == pytest.approx(13 / 1.9)


def test_thresholds_are_exceeded_not_met() -> None:
    truth = np.tile([10.0, 10, 10, 10], (3, 1))
    found = truth.copy()
    found[1, 3], found[2, 3] = 5, 7.5  # IoU of exactly 0.5 and 0.75
    ours = figures([score(made_up(truth), found, np.ones(3), OpeRule())])
    assert (ours["sr_50"], ours["sr_75"]) == (0.5, 0.0)


def test_boxes_below_a_pixel_keep_their_size() -> None:
    boxes = np.tile([10.0, 10, 1, 1], (2, 1))
    assert got10k_overlaps(boxes * [1, 1, 0.5, 0.5], boxes, (WIDTH, HEIGHT)).tolist() == [0.25]


def test_overlaps_are_kept_by_frame() -> None:
    truth = np.tile([10.0, 10, 10, 10], (4, 1))
    truth[2] = np.nan
    ours = score(made_up(truth), np.tile([10.0, 10, 10, 5], (4, 1)), np.ones(4), OpeRule())
    assert ours.frames == 2
    assert ours.overlaps.dtype == np.float64
    assert np.array_equal(ours.overlaps, [0.5, 0.5, np.nan, 0.5], equal_nan=True)


def test_a_target_at_the_edge_is_undefined_only_for_the_matlab_toolkits() -> None:
    truth = np.tile([0.0, 10, 10, 10], (3, 1))
    assert ope_errors(truth, truth, OpeRule()).overlap.tolist() == [1, 1, 1]
    assert ope_errors(truth, truth, OpeRule(undefined_hits=True)).overlap.max() < 0


def test_a_sequence_that_says_nothing_changes_no_figure() -> None:
    truth = np.tile([10.0, 10, 10, 10], (3, 1))
    lost, first_only = np.full((3, 4), np.nan), truth.copy()
    first_only[1:] = np.nan
    scored = score(made_up(truth), truth, np.ones(3), OpeRule())
    silent = [score(made_up(lost), truth, np.zeros(3), OpeRule()), unscored(made_up(lost), np.zeros(3))]
    alone = figures([scored])
    assert figures([scored, *silent]) == alone
    assert all(np.isnan(v) for v in figures(silent).values())
    ours = figures([scored, score(made_up(first_only), truth, np.zeros(3), OpeRule())])
    assert (ours["ao"], ours["ao_by_sequence"], ours["success_auc"]) == (1, 1, alone["success_auc"])
    assert np.isnan(figures([score(made_up(first_only), truth, np.zeros(3), OpeRule())])["ao_by_sequence"])


def test_a_single_frame_is_a_whole_share() -> None:
    errors = ope_errors(np.array([[1.0, 1, 5, 5]]), np.array([[1.0, 1, 5, 5]]), OpeRule())
    assert success_curve(errors)[0] == 1.0


def test_normalised_errors_of_boxes_without_a_side_warn_nobody() -> None:
    truth = np.array([[10.0, 10, 0, 0], [10, 10, 0, 5]])
    with np.errstate(all="raise"):
        assert not np.isfinite(centre_errors(np.array([[12.0, 10, 0, 0], [10, 10, 0, 5]]), truth, True)).any()


def test_attributes_group_sequences() -> None:
    truth = np.tile([10.0, 10, 10, 10], (3, 1))
    scores = [
        score(Sequence(n, (Path("x"),) * 3, truth, a, size=(WIDTH, HEIGHT)), truth, np.ones(3), OpeRule())
        for n, a in (("a", ("SV", "LR")), ("b", ("SV",)))
    ]
    assert {k: [s.name for s in v] for k, v in by_attribute(scores).items()} == {"LR": ["a"], "SV": ["a", "b"]}


def test_a_submission_goes_through_the_official_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    from mvt_deploy.evaluation.submission import write_submission

    monkeypatch.setenv("MPLBACKEND", "Agg")
    experiments = pytest.importorskip("got10k.experiments")
    root = got10k(tmp_path / "data", {"GOT-10k_Val_000001": 20, "GOT-10k_Val_000002": 15})
    dataset, folder = open_dataset(root), ResultsFolder(tmp_path / "run")
    fill(dataset, folder)
    path = write_submission(dataset, folder)
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "results" / "GOT-10k" / "ours")
    experiment = experiments.ExperimentGOT10k(str(root), "val", str(tmp_path / "results"), str(tmp_path / "reports"))
    assert experiment.report(["ours"])["ours"]["overall"]["ao"] == pytest.approx(
        figures(scores_of(dataset, folder))["ao"], **CLOSE
    )
    report = json.loads((tmp_path / "reports" / "GOT-10k" / "ours" / "performance.json").read_text())
    assert set(report) == {"ours"}


def test_trackingnet_submission_has_a_file_a_sequence(tmp_path: Path) -> None:
    import zipfile

    from mvt_deploy.evaluation.submission import write_submission

    write_frames(tmp_path / "TEST" / "frames" / "clip_0", range(4), digits=1)
    write_rows(tmp_path / "TEST" / "anno" / "clip_0.txt", walk(1))
    dataset, folder = open_dataset(tmp_path), ResultsFolder(tmp_path / "run")
    results = fill(dataset, folder)
    path = write_submission(dataset, folder)
    assert path is not None
    first = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["clip_0.txt"]
        boxes = np.loadtxt(archive.open("clip_0.txt"), delimiter=",")
    assert boxes == pytest.approx(results["clip_0"].boxes)
    assert write_submission(dataset, folder) == path
    assert path.read_bytes() == first  # the same results make the same archive
