"""Every rewrite computes the same function; the ones only a runtime can run are tested through it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from mvt_deploy.assets import asset
from mvt_deploy.crops import CropPairs, photograph_pairs
from mvt_deploy.errors import UserError
from mvt_deploy.export.graphs import split
from mvt_deploy.export.parity import measure, reference
from mvt_deploy.export.rewrites import NEEDS, ORT, PORTABLE, REWRITES, apply, fold_cells, unfold_cells
from mvt_deploy.export.session import runner
from mvt_deploy.export.to_onnx import example_inputs, to_onnx
from mvt_deploy.network import MVT, load_checkpoint
from mvt_deploy.network.blocks import unfold
from mvt_deploy.network.inference import Prediction, decode, hann_window, prepare

ORT_OPERATORS = ("fuse_attention", "flatten_tokens")
RUNS_IN_TORCH = [name for name in REWRITES if name not in ORT_OPERATORS]


@pytest.fixture(scope="module", params=["trained", "random"])
def model(request: pytest.FixtureRequest) -> MVT:
    model = load_checkpoint(asset("mvt.safetensors"))
    if request.param == "random":  # norms that are far from the identity
        torch.manual_seed(1)
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm | torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.2)
    return model


@pytest.fixture(scope="module")
def pairs() -> CropPairs:
    return photograph_pairs(4, seed=3)


@pytest.fixture(scope="module")
def wanted(model: MVT, pairs: CropPairs) -> Prediction:
    crops = [prepare(torch.from_numpy(c)) for c in (pairs.template, pairs.search)]
    with torch.inference_mode():
        return decode(model(*crops), hann_window())


@pytest.mark.parametrize(
    "names",
    [*((*NEEDS.get(n, ()), n) for n in RUNS_IN_TORCH), tuple(RUNS_IN_TORCH), ()],
    ids=[*RUNS_IN_TORCH, "all", "none"],
)
def test_the_function_stays(model: MVT, pairs: CropPairs, wanted: Prediction, names: tuple[str, ...]) -> None:
    graphs = split(model)
    assert set(apply(graphs, names)) == set(names)
    with torch.inference_mode():
        features = graphs.template(torch.from_numpy(pairs.template))
        found = graphs.search(torch.from_numpy(pairs.search), *features)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() < 1e-5


def test_peaks_on_the_rim(pairs: CropPairs) -> None:
    """Size and offset at the corners and edges of the grid, where the 9x9 neighbourhood leaves it."""
    model = load_checkpoint(asset("mvt.safetensors"))
    whole, at_peak = split(model), split(model)
    apply(whole, ["fold_batch_norms", "merge_neck_into_head"])
    apply(at_peak, ["fold_batch_norms", "merge_neck_into_head", "regress_at_peak"])
    with torch.inference_mode():
        x, z = torch.randn(1, 128, 16, 16), torch.randn(1, 128, 8, 8)
        for cell in (0, 15, 240, 255, 7, 112, 136):
            window = torch.full((256,), 1e-6)
            window[cell] = 1.0
            whole.search.locate.window = at_peak.search.locate.window = window.reshape(16, 16)
            assert (whole.search.locate(x, z).box - at_peak.search.locate(x, z).box).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ORT_OPERATORS)
def test_onnx_runtimes_own_operators(model: MVT, pairs: CropPairs, tmp_path: Path, name: str) -> None:
    graphs = split(model)
    apply(graphs, [*NEEDS[name], name])
    for graph, inputs in zip(graphs, example_inputs(*graphs), strict=True):
        to_onnx(graph, inputs, tmp_path / f"{graph.role}.onnx")
    template, search = (runner(tmp_path / f"{role}.onnx") for role in ("template", "search"))
    assert measure(template, search, reference(model, pairs), "fp32").max_abs < 1e-5


def test_targets() -> None:
    assert set(ORT) - set(PORTABLE) == {*ORT_OPERATORS, "channels_last_tokens"}


def test_portable_graphs_use_standard_operators_only(bundle: Path) -> None:
    import onnx

    for path in bundle.glob("*.onnx"):
        domains = {o.domain for o in onnx.load(path).opset_import} - {"", "ai.onnx"}
        assert domains == ({"com.microsoft"} if ".ort." in path.name else set())


def test_each_attention_is_one_operator(bundle: Path) -> None:
    import onnx

    operators = [n.op_type for n in onnx.load(bundle / "search.ort.onnx").graph.node]
    assert operators.count("MultiHeadAttention") == 6
    assert "Softmax" not in operators


@pytest.mark.parametrize("height", [8, 16, 32])
def test_moving_whole_cells_is_the_same_unfolding(height: int) -> None:
    x = torch.randn(2, 24, height, height)
    tokens = unfold_cells(x)
    assert torch.equal(tokens, unfold(x))
    assert torch.equal(fold_cells(tokens, height), x)


def test_onnx_runtime_fuses_the_flat_tokens(bundle: Path, tmp_path: Path) -> None:
    """ReLUs join their Gemm, and the slow SkipLayerNormalization is not made."""
    import onnx

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(str(bundle / "search.ort.onnx"), options, providers=["CPUExecutionProvider"])
    operators = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert operators.count("FusedGemm") == 8  # six feed-forward layers, two narrowing products
    assert "SkipLayerNormalization" not in operators


def test_unknown_and_unsupported_rewrites_are_refused(model: MVT) -> None:
    with pytest.raises(UserError, match="no rewrite nonsense"):
        apply(split(model), ["nonsense"])
    with pytest.raises(UserError, match="cache_template needs"):
        apply(split(model), ["cache_template"])


def test_batches_are_independent(bundle: Path, pairs: CropPairs) -> None:
    """Each target of a batch is found with its own template, as it would be alone."""
    session = {r: onnxruntime.InferenceSession(str(bundle / f"{r}.onnx")) for r in ("template", "search")}
    names = [o.name for o in session["template"].get_outputs()]

    def run(template: np.ndarray, search: np.ndarray) -> list[np.ndarray]:
        features = dict(zip(names, session["template"].run(names, {"crop": template}), strict=True))
        found: list[np.ndarray] = session["search"].run(["box", "score"], {"crop": search, **features})
        return found

    together = run(pairs.template, pairs.search)
    for i in range(4):
        alone = run(pairs.template[i : i + 1], pairs.search[i : i + 1])
        for a, b in zip(alone, together, strict=True):
            assert np.abs(a[0] - b[i]).max() < 1e-5
