"""The export as a whole: what it writes, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from golden import CASES, sha256

torch = pytest.importorskip("torch")

from mvt_deploy import bundle as bundles
from mvt_deploy import load
from mvt_deploy.assets import asset
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import BundleError, ParityError
from mvt_deploy.export import export_bundle
from mvt_deploy.export.parity import TOLERANCE, Batch, measure, reference
from mvt_deploy.export.session import runner
from mvt_deploy.geometry import clip, crop, crop_window, map_back
from mvt_deploy.network import load_checkpoint
from mvt_deploy.quantize.build import build_bundle, judge_graphs
from mvt_deploy.quantize.placement import candidates
from mvt_deploy.quantize.sensitivity import LayerError
from mvt_deploy.quantize.source import Int8Options
from mvt_deploy.version import __version__


def test_manifest(bundle: Path) -> None:
    opened = bundles.open_bundle(bundle)
    opened.verify()
    manifest = opened.manifest
    assert manifest.checkpoint.parameters == 5_480_405
    assert {(g.file, g.role, g.precision, g.target) for g in manifest.graphs} == {
        ("template.onnx", "template", "fp32", "portable"),
        ("search.onnx", "search", "fp32", "portable"),
        ("search.ort.onnx", "search", "fp32", "ort"),
        ("template.fp16.onnx", "template", "fp16", "portable"),
        ("search.fp16.onnx", "search", "fp16", "portable"),
        ("template.onnx", "template", "int8", "ort"),
        ("search.int8.ort.onnx", "search", "int8", "ort"),
        ("template.onnx", "template", "int8", "openvino"),
        ("search.int8.openvino.onnx", "search", "int8", "openvino"),
        ("template.fp16.onnx", "template", "int8", "tensorrt"),
        ("search.int8.tensorrt.onnx", "search", "int8", "tensorrt"),
    }
    for graph in manifest.graphs:
        assert graph.opset >= 17
        own = {"template.onnx": "fp32", "template.fp16.onnx": "fp16"}.get(graph.file, graph.precision)
        assert graph.parity.max_abs <= graph.parity.tolerance == TOLERANCE[own]
        assert graph.inputs[0] == bundles.TensorInfo(
            "crop", "uint8", ["n", *[128 if graph.role == "template" else 256] * 2, 3]
        )
    search = opened.graph("search", "fp16")
    assert [t.dtype for t in search.inputs[1:]] == ["float16"] * 3  # features stay fp16 between the graphs
    assert [(t.name, t.dtype) for t in search.outputs] == [(n, "float32") for n in ("box", "score", "score_map")]
    assert opened.graph("search", "fp32").inputs == opened.graph("search", "fp32", ("ort",)).inputs


def test_fp32_graphs_are_exact_and_fp16_graphs_close(bundle: Path) -> None:
    parity = {g.file: g.parity for g in bundles.open_bundle(bundle).manifest.graphs}
    assert parity["search.onnx"].max_abs < 1e-5
    assert parity["search.ort.onnx"].max_abs < 1e-5
    assert parity["search.fp16.onnx"].max_abs < 2e-3  # weights folded in fp32, then rounded once
    assert parity["search.fp16.onnx"].box_px < 0.3


@pytest.mark.parametrize("file", ["search.onnx", "search.ort.onnx", "search.fp16.onnx", "search.int8.ort.onnx"])
def test_layers_are_called_as_their_modules(bundle: Path, file: str) -> None:
    nodes = onnx.load(bundle / file).graph.node
    layers = [node.name for node in nodes if node.op_type in ("Conv", "Gemm")]
    assert {"stem.0.block.conv", "block_4.local.block.conv", "locate.box_head.conv5_ctr"} <= set(layers)
    assert not [name for name in layers if "." not in name]
    assert len({node.name for node in nodes}) == len(nodes)


def test_no_trace_of_the_exporting_machine(bundle: Path) -> None:
    for path in bundle.iterdir():
        content = path.read_bytes()
        for word in (b"site-packages", str(Path.home()).encode(), str(Path(__file__).parents[2]).encode()):
            assert word not in content, path.name


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    """What PyTorch answers on crops of photographs."""
    return reference(load_checkpoint(asset("mvt.safetensors")), photograph_pairs(4))


@pytest.mark.parametrize("what", ["score", "box", "nan"])
def test_a_graph_that_is_off_is_refused(bundle: Path, batches: list[Batch], what: str) -> None:
    search = runner(bundle / "search.onnx")

    def off(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {k: v.copy() for k, v in search(inputs).items()}
        if what == "score":
            found["score_map"][0, 5, 5] += 2e-4
        else:
            found["box"][1, 2] += 2e-4 if what == "box" else np.nan
        return found

    template = runner(bundle / "template.onnx")
    measure(template, search, batches, "fp32")
    with pytest.raises(ParityError, match="nothing was written"):
        measure(template, off, batches, "fp32")


@pytest.mark.slow
def test_a_failed_export_leaves_the_old_bundle(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mvt"
    shutil.copytree(bundle, folder)
    before = json.loads((folder / "manifest.json").read_text())
    monkeypatch.setitem(TOLERANCE, "fp32", 0.0)
    with pytest.raises(ParityError):
        export_bundle(None, folder)
    assert json.loads((folder / "manifest.json").read_text()) == before
    bundles.open_bundle(folder).verify()
    assert [p.name for p in tmp_path.iterdir()] == ["mvt"]


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="is no bundle"):
        export_bundle(None, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ort", "openvino", "torch"])
def test_graphs_of_the_published_layout_answer_as_published(golden_bundle: Path, backend: str) -> None:
    """A checkpoint in the published layout, exported; from the frame to the box against the authors' answers."""
    if backend != "torch":
        pytest.importorskip({"ort": "onnxruntime"}.get(backend, backend))
    assert bundles.open_bundle(golden_bundle).manifest.checkpoint.source == "published.pth.tar"
    cases = [case for case in CASES if case.weights == "formula"]
    with contextlib.closing(load(golden_bundle, backend)) as model:
        for case in cases:
            windows = [crop_window(case.box, factor) for factor in (2.0, 4.0)]
            template, search = (
                crop(case.frame, window, size)[None] for window, size in zip(windows, (128, 256), strict=True)
            )
            assert (sha256(template), sha256(search)) == (case.crop_sha256["template"], case.crop_sha256["search"])
            found = model.search(search, model.template(template), score_map=True)
            assert found.score_map is not None
            assert np.abs(found.score_map - case.maps["score"][0]).max() < 1e-5
            assert np.abs(found.box[0] - case.centre_size).max() < 1e-5
            height, width = case.frame.shape[:2]
            box = clip(map_back(found.box[0], case.box, windows[1].side), width, height)
            assert np.allclose(box, case.clipped, rtol=0, atol=max(1e-4, 2e-6 * windows[1].side))


def _verdict(passed: bool) -> bundles.Gate:
    worst = bundles.ClipOverlap("a", 0.5)
    return bundles.Gate(
        "ort cpu fp32", "ort cpu fp16", "fp16", "portable", 1, 9, 0, 0.5, worst,
        0.8, 0.7, 0.1, 0.0, 0.2, 0.1, 0.9, 0.01, 0.02, 0.002, passed, "AO drops",
    )  # fmt: skip


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> bundles.Bundle:
    """A copy of the bundle that a test may change."""
    shutil.copytree(bundle, tmp_path / "mvt")
    return bundles.open_bundle(tmp_path / "mvt")


@pytest.mark.parametrize("force", [False, True])
def test_the_judge_is_asked_about_every_search_graph_below_fp32_and_decides(
    copied: bundles.Bundle, force: bool
) -> None:
    asked = []

    def judge(folder: Path, precision: str, target: str, side: int | None) -> bundles.Gate:
        bundles.open_bundle(folder).verify()  # whole, so that backends can open it
        asked.append((precision, target))
        return _verdict(False)

    if force:
        judge_graphs(copied, judge, force=force)
        assert bundles.open_bundle(copied.folder).manifest.gates == [_verdict(False)] * 4
    else:
        with pytest.raises(ParityError, match=r"search\.fp16\.onnx.*AO drops; nothing was written.*--force"):
            judge_graphs(copied, judge, force=force)
    below = [("fp16", "portable"), ("int8", "ort"), ("int8", "openvino"), ("int8", "tensorrt")]
    assert asked == (below if force else below[:1])


@pytest.mark.slow
def test_a_graph_over_the_budget_keeps_layers_in_floating_point_and_is_judged_once_as_it_is_written(
    copied: bundles.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge stands in for the gate, and wants two layers of ONNX Runtime's graph back; the ranking is given."""
    worst = candidates(onnx.load(copied.folder / "search.ort.onnx"), "ort")[3:6]
    ranking = [LayerError(name, "Conv", 1.0, 1.0, 0.0, 0.0) for name in worst]
    monkeypatch.setattr("mvt_deploy.quantize.fp_layers.rank", lambda *_, **__: ranking)
    asked: list[tuple[str, int]] = []

    def judge(folder: Path, precision: str, target: str, side: int | None) -> bundles.Gate:
        if precision == "fp16":
            return _verdict(True)
        graph = bundles.open_bundle(folder).graph("search", precision, (target,))
        assert graph.calibration
        kept = len(graph.calibration.kept)
        asked.append((target, kept))
        return replace(_verdict(target != "ort" or kept >= 2), reason=f"{kept} kept")

    options = Int8Options(max_ao_drop=0.001)
    judged = judge_graphs(copied, judge, int8=options, store=options.open_store())
    searched = [("ort", kept) for kept in (0, 0, 1, 2)]
    assert asked == [*searched, ("openvino", 0), ("tensorrt", 0)]
    opened = bundles.open_bundle(copied.folder)
    opened.verify()
    assert [gate.reason for gate in opened.manifest.gates][1:] == ["2 kept", "0 kept", "0 kept"]
    graph = opened.graph("search", "int8", ("ort",))
    assert graph.calibration
    assert graph.calibration.kept == sorted(worst[:2])
    assert 0 < graph.parity.max_abs < TOLERANCE["int8"]
    assert judged == opened


@pytest.mark.slow
def test_a_refused_graph_leaves_the_old_bundle(bundle: Path, tmp_path: Path) -> None:
    """The export is refused after its graphs were written."""
    folder = tmp_path / "mvt"
    shutil.copytree(bundle, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ParityError, match="nothing was written"):
        build_bundle(None, folder, fp16=True, judge=lambda *_: _verdict(False))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["mvt"]


@pytest.mark.parametrize("file", ["template.onnx", "search.ort.onnx", "search.fp16.onnx", "search.int8.ort.onnx"])
def test_graphs_say_what_they_are(bundle: Path, file: str) -> None:
    model = onnx.load(bundle / file)
    assert (model.producer_name, model.producer_version) == ("mvt-deploy", __version__)
    role = file.split(".")[0]
    assert f"{role} graph" in model.doc_string
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["role"] == role
    assert properties["precision"] == next((p for p in ("fp16", "int8") if p in file), "fp32")
    described = {value.name: value.doc_string for value in (*model.graph.input, *model.graph.output)}
    assert "uint8 BGR" in described["crop"]
    assert all(len(text) > 40 for text in described.values())
    if role == "search":
        assert "fractions of the crop" in described["box"]
