"""Search graphs of other sides: the same function at the same density, in bundles that hold several of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from mvt_deploy import bundle as bundles
from mvt_deploy import load
from mvt_deploy.assets import asset
from mvt_deploy.backends.torch import TorchBackend
from mvt_deploy.bundle import Gate, TensorInfo, TrackerSpec, graph_file, open_bundle, trim
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import BundleError
from mvt_deploy.export.build import export_sides
from mvt_deploy.export.graphs import split
from mvt_deploy.export.parity import TOLERANCE
from mvt_deploy.export.rewrites import REWRITES, apply
from mvt_deploy.export.session import runner
from mvt_deploy.network import MVT, load_checkpoint
from mvt_deploy.network.inference import Prediction, decode, hann_window, prepare, size_scale
from mvt_deploy.quantize.build import build_bundle
from mvt_deploy.quantize.source import Int8Options

RUNS_IN_TORCH = [name for name in REWRITES if name not in ("fuse_attention", "flatten_tokens")]


@pytest.fixture(scope="module")
def model() -> MVT:
    return load_checkpoint(asset("mvt.safetensors"))


def answer(model: MVT, side: int, count: int) -> Prediction:
    """The network's own answer on crops of a side."""
    pairs = photograph_pairs(count, seed=3, search_size=side)
    crops = [prepare(torch.from_numpy(c)) for c in (pairs.template, pairs.search)]
    grid = side // 16
    with torch.inference_mode():
        return decode(model(*crops), hann_window(grid), size_scale(grid))


@pytest.mark.slow
@pytest.mark.parametrize("side", [128, 192, 224, 320])
def test_the_rewrites_compute_the_same_function_at_every_side(model: MVT, side: int) -> None:
    pairs = photograph_pairs(4, seed=3, search_size=side)
    graphs = split(model, side)
    apply(graphs, RUNS_IN_TORCH)
    with torch.inference_mode():
        features = graphs.template(torch.from_numpy(pairs.template))
        found = graphs.search(torch.from_numpy(pairs.search), *features)
    assert found.score_map.shape == (4, side // 16, side // 16)
    for a, b in zip(found, answer(model, side, 4), strict=True):
        assert (a - b).abs().max() < 1e-5
    with TorchBackend(asset("mvt.safetensors"), search_size=side) as backend:
        ours = backend.search(pairs.search, backend.template(pairs.template))
    assert np.abs(ours.box - found.box.numpy()).max() < 1e-5, "the graph and the PyTorch backend scale sizes alike"


@pytest.mark.slow
@pytest.mark.parametrize("side", [192, 224, 320])
def test_a_target_has_the_same_size_in_pixels_at_every_side(model: MVT, side: int) -> None:
    """The windows have one centre and one density, so the same target covers the same pixels of either crop."""
    pixels = {s: answer(model, s, 12).box[:, 2:].numpy() * s for s in (256, side)}
    ratio = np.median(pixels[side] / pixels[256])
    assert 0.93 < ratio < 1.07, "without the scale it would be the ratio of the sides"


def test_the_template_does_not_depend_on_the_side(model: MVT) -> None:
    crops = torch.from_numpy(photograph_pairs(2).template)
    features = []
    for side in (192, 256):
        graphs = split(model, side)
        apply(graphs, RUNS_IN_TORCH)
        with torch.inference_mode():
            features.append(graphs.template(crops))
    assert all(torch.equal(a, b) for a, b in zip(*features, strict=True))


def test_sides_that_are_asked_for() -> None:
    assert export_sides([]) == (256,)
    assert export_sides([320, 192, 256, 192]) == (256, 192, 320)
    for side in (0, 16, 200, 8192):
        with pytest.raises(BundleError, match=f"multiple of 32 pixels.*not {side}"):
            export_sides([side])


def test_file_names() -> None:
    assert graph_file("search", search_size=256) == "search.onnx"
    assert graph_file("search", "int8", "ort", 192) == "search.s192.int8.ort.onnx"
    assert graph_file("template", "fp16") == "template.fp16.onnx"


@pytest.mark.slow
def test_a_bundle_of_two_sides(tmp_path: Path) -> None:
    """Graphs of both sides are compared with the network, judged, and can be reduced to those of one runtime."""
    asked: list[tuple[str, str, int | None]] = []

    def judge(folder: Path, precision: str, target: str, side: int | None) -> Gate:
        asked.append((precision, target, side))
        return Gate(
            "r", "c", precision, target, 1, 9, 0, 0.9, bundles.ClipOverlap("a", 0.9),
            0.8, 0.8, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.01, True, "x", side,
        )  # fmt: skip

    made = build_bundle(None, tmp_path / "mvt", search_sizes=[192], int8=Int8Options(targets=("ort",)), judge=judge)
    assert json.loads((tmp_path / "mvt" / "manifest.json").read_text())["format"] == 2
    made.verify()
    assert made.search_sizes == (192, 256)
    assert sorted(asked, key=str) == [
        ("fp16", "portable", 192),
        ("fp16", "portable", None),
        ("fp32", "ort", 192),
        ("fp32", "portable", 192),
        ("int8", "ort", 192),
        ("int8", "ort", None),
    ]
    for precision in ("fp32", "fp16", "int8"):
        small, default = (made.graphs("ort", precision, side) for side in (192, 256))
        assert small.search.inputs[0] == TensorInfo("crop", "uint8", ["n", 192, 192, 3])
        assert small.search.outputs[2].shape == ["n", 12, 12]
        assert small.template.file == default.template.file
        assert small.search.parity.max_abs <= TOLERANCE[precision]
        assert "192 x 192" in onnx.load(made.path(small.search)).graph.input[0].doc_string
    int8 = [made.graphs("ort", "int8", side).search.calibration for side in (192, 256)]
    assert int8[0] == int8[1], "one set of ranges serves both"

    pairs = photograph_pairs(4, search_size=192)
    fp32, quantised = (made.graphs("ort", precision, 192) for precision in ("fp32", "int8"))
    features = runner(made.path(fp32.template))({"crop": pairs.template})
    boxes = [runner(made.path(g.search))({"crop": pairs.search, **features})["box"] for g in (fp32, quantised)]
    assert np.abs(np.asarray(boxes[0]) - np.asarray(boxes[1])).max() < 0.05
    with load(made.folder, "torch", search_size=192) as backend:
        ours = backend.search(pairs.search, backend.template(pairs.template))
    assert np.abs(ours.box - np.asarray(boxes[0])).max() < 1e-4

    before = {path.name for path in made.folder.iterdir()}
    trimmed = trim(open_bundle(made.folder), ["ort"])
    assert {path.name for path in made.folder.iterdir()} == {
        "manifest.json", "template.onnx", "search.ort.onnx", "search.s192.ort.onnx",
        "search.int8.ort.onnx", "search.s192.int8.ort.onnx",
        "template.fp16.onnx", "search.fp16.onnx", "search.s192.fp16.onnx",
    }  # fmt: skip
    assert "checkpoint.safetensors" in before
    assert open_bundle(made.folder) == trimmed
    trimmed.verify()
    assert trimmed.search_sizes == (192, 256)
    assert len(trimmed.manifest.gates) == 5, "the verdict on the portable graph went with it"
    with pytest.raises(BundleError, match="without its checkpoint"):
        trimmed.checkpoint()


def test_unknown_runtimes_are_refused(bundle: Path) -> None:
    with pytest.raises(BundleError, match="no runtime 'npu'"):
        trim(open_bundle(bundle), ["npu"])
    open_bundle(bundle).verify()


def test_the_default_specification_stays() -> None:
    assert TrackerSpec().at(256) == TrackerSpec()
    assert (TrackerSpec().at(192).search_factor, TrackerSpec().at(320).search_factor) == (3.0, 5.0)
