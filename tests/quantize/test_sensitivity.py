"""Sensitivity: the ranking on the bundle's own graph with the real quantiser, resuming, and the choice of layers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from told import Told

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from mvt_deploy import bundle as bundles
from mvt_deploy.bundle import ClipOverlap, Gate
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import UserError
from mvt_deploy.quantize.fp_layers import fewest_within_budget, keep_within
from mvt_deploy.quantize.placement import candidates
from mvt_deploy.quantize.qdq import quantize, tensors_needed
from mvt_deploy.quantize.ranges import measure_ranges
from mvt_deploy.quantize.sensitivity import LayerError, Probe, rank
from mvt_deploy.quantize.source import open_quantization_source

PAIRS = photograph_pairs(4, seed=2)


@pytest.fixture(scope="module")
def source(bundle: Path) -> tuple[Path, Any, Mapping[str, tuple[float, float]]]:
    """The template graph's file, the search graph and its ranges."""
    opened = bundles.open_bundle(bundle)
    template = opened.path(opened.graph("template"))
    search = opened.path(opened.graph("search"))
    model = onnx.load(search)
    return template, model, dict(measure_ranges(search, template, PAIRS, tensors_needed(model, "openvino"), "minmax"))


def some(model: Any, target: str) -> list[str]:
    """Every twelfth layer, so that a test takes seconds."""
    return candidates(model, target)[::12]


@pytest.mark.slow
def test_a_graph_against_itself(source: tuple[Path, Any, Any]) -> None:
    template, model, _ = source
    error = Probe(template, model, PAIRS).error(model.graph.node[3].name, model)
    assert error.operator == model.graph.node[3].op_type
    assert (error.box_mean, error.box_p95, error.score_mean, error.score_max) == pytest.approx((0, 0, 0, 0), abs=1e-6)


@pytest.mark.slow
def test_an_error_by_hand(source: tuple[Path, Any, Any]) -> None:
    """Boxes twice as wide, about the same centre, have half an IoU; the scores stay."""
    template, model, _ = source
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    box = next(n for n in wider.graph.node if "box" in n.output)
    box.output[0] = "box_before"
    wider.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 1], np.float32), "factors"))
    wider.graph.node.append(onnx.helper.make_node("Mul", ["box_before", "factors"], ["box"], name="widen"))
    error = Probe(template, model, PAIRS).error("widen", wider)
    assert (error.box_mean, error.box_p95) == pytest.approx((0.5, 0.5), abs=1e-5)
    assert error.added == pytest.approx(0.5, abs=1e-5)
    wider.graph.initializer[-1].CopyFrom(
        onnx.numpy_helper.from_array(np.array([1, 1, np.nan, 1], np.float32), "factors")
    )
    assert Probe(template, model, PAIRS).error("widen", wider).box_mean == 1


@pytest.mark.slow
def test_the_layer_with_a_bad_range_ranks_first_and_an_interrupted_run_goes_on(
    source: tuple[Path, Any, dict[str, tuple[float, float]]], tmp_path: Path
) -> None:
    template, model, ranges = source
    layers = some(model, "openvino")
    bad = layers[len(layers) // 2]
    read = next(n.input[0] for n in model.graph.node if n.name == bad)
    low, high = ranges[read]
    cut = {**ranges, read: (low / 20, high / 20)}
    probe, state = Probe(template, model, PAIRS), tmp_path / "state.json"

    def run(progress: Told, of: dict[str, tuple[float, float]] = cut) -> list[LayerError]:
        return rank(probe, model, of, "openvino", layers=layers, state=state, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        run(Told(interrupt_after=2))
    assert len(json.loads(state.read_text())["layers"]) == 2
    resumed = Told()
    ranking = run(resumed)
    assert [*resumed.before.values(), *resumed.totals.values()] == [2, len(layers)]
    assert resumed.steps == len(layers) - 2
    assert {error.name for error in ranking} == set(layers)
    assert ranking[0].name == bad
    assert ranking[0].added > 3 * ranking[1].added > 0
    alone = quantize(model, cut, "openvino", keep=[n for n in candidates(model, "openvino") if n != bad])
    assert ranking[0] == probe.error(bad, alone), "each layer was quantised alone"
    again = Told()
    assert run(again) == ranking
    assert again.steps == 0
    other = Told(interrupt_after=1)  # with other ranges the file is another graph's
    with pytest.raises(KeyboardInterrupt):
        run(other, ranges)
    assert [*other.before.values(), *other.totals.values()] == [0, len(layers)]
    state.write_text("{")
    with pytest.raises(UserError, match="remove it"):
        run(again)


def test_nothing_to_rank(source: tuple[Path, Any, Any]) -> None:
    template, model, ranges = source
    with pytest.raises(UserError, match="quantises no layer"):
        rank(Probe(template, model, PAIRS), model, ranges, "ort", layers=[])


def _gate(passed: bool) -> Gate:
    return Gate(
        reference="r",
        candidate="c",
        precision="int8",
        target="ort",
        clips=1,
        frames=9,
        nonfinite=0,
        mean_iou=0.9,
        worst_clip=ClipOverlap("a", 0.9),
        ao_reference=0.8,
        ao_candidate=0.8,
        ao_drop=0.0,
        ao_drop_low=0.0,
        ao_drop_high=0.0,
        same_windows_drop=0.0,
        same_windows_iou=1.0,
        score_drift=0.0,
        score_drift_max=0.0,
        limit=0.01,
        passed=passed,
        reason="x",
    )


@pytest.mark.parametrize("needed", range(8))
def test_the_fewest_of_the_worst_layers_are_kept(needed: int) -> None:
    ranking = [LayerError(f"n{i}", "Conv", 1 - i / 10, 0, 0, 0) for i in range(7)]
    asked: list[list[str]] = []

    def judge(keep: Collection[str]) -> Gate:
        asked.append(list(keep))
        return _gate(len(keep) >= needed)

    kept = keep_within(ranking, judge)
    assert kept.names == [f"n{i}" for i in range(needed)]
    assert kept.gate.passed
    assert len(asked) <= 7


def test_a_limit_that_nothing_keeps() -> None:
    with pytest.raises(UserError, match="no choice of layers"):
        keep_within([LayerError("a", "Conv", 0, 0, 0, 0)], lambda keep: _gate(False))


def test_a_budget_keeps_the_worst_layers_of_the_real_graph(bundle: Path, tmp_path: Path) -> None:
    """Judged by a stand-in that wants at least three layers back; the graphs it is shown are the bundle's own kind."""
    shutil.copytree(bundle, tmp_path / "mvt")
    opened = bundles.open_bundle(tmp_path / "mvt")
    source = open_quantization_source(opened, "tensorrt")
    names = candidates(source.model, "tensorrt")
    ranking = [LayerError(name, "Conv", 1.0 - i / 100, 0, 0, 0) for i, name in enumerate(reversed(names))]
    shown: list[int] = []

    def judge(folder: Path, precision: str, target: str, side: int | None) -> Gate:
        path = bundles.open_bundle(folder).path(
            bundles.open_bundle(folder).graph("search", precision, (target,))
        )  # its hash fits
        weights = {t.name for t in onnx.load(path).graph.initializer}
        convolutions = [n for n in onnx.load(path).graph.node if n.op_type == "Conv" and n.name in names]
        shown.append(sum(n.input[1] in weights for n in convolutions))
        return _gate(shown[-1] >= 3)

    before = (bundle / "manifest.json").read_bytes()
    found = fewest_within_budget(opened, source, ranking, judge)
    assert found.names == list(reversed(names))[:3]
    assert shown[0] == 0
    assert 3 in shown
    assert (bundle / "manifest.json").read_bytes() == before
