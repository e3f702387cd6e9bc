"""Int8 graphs: what is quantised for whom, from which ranges, and what it does to the answers."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from mvt_deploy.assets import asset
from mvt_deploy.backends.tensorrt.lint import int8_safe, unsafe_int8_convolutions
from mvt_deploy.bundle import open_bundle
from mvt_deploy.crops import CropPairs, photograph_pairs
from mvt_deploy.errors import CalibrationError, UserError
from mvt_deploy.quantize.calibration_set import read_crops
from mvt_deploy.quantize.placement import RULES, candidates
from mvt_deploy.quantize.qdq import activation_scale, quantize, quantize_weight, tensors_needed
from mvt_deploy.quantize.ranges import CACHE, RangeStore, measure_ranges, weights_digest
from mvt_deploy.quantize.source import Int8Options

SOURCE = {"ort": "search.ort.onnx", "openvino": "search.onnx", "tensorrt": "search.fp16.onnx"}


def int8(bundle: Path, target: str) -> onnx.ModelProto:
    return onnx.load(bundle / f"search.int8.{target}.onnx")


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


def test_scales_cover_the_range_and_keep_zero_exact() -> None:
    unsigned = activation_scale(-1.0, 4.1, symmetric=False)
    assert unsigned.scale == pytest.approx(5.1 / 255)
    assert unsigned.zero == 50  # 1 / 0.02
    assert unsigned.zero.dtype == np.uint8
    relu = activation_scale(0.5, 2.55, symmetric=False)
    assert relu.scale == pytest.approx(0.01)
    assert relu.zero == 0  # zero is inside, so it saturates like a ReLU
    signed = activation_scale(-1.0, 2.54, symmetric=True)
    assert signed.scale == pytest.approx(0.02)
    assert signed.zero == 0
    assert signed.zero.dtype == np.int8


def test_weights_have_a_scale_a_channel() -> None:
    values, scale = quantize_weight(np.array([[1.27, -0.635], [0.0, 12.7]], np.float32), axis=0)
    np.testing.assert_allclose(scale, [0.01, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(values, [[127, -64], [0, 127]])
    columns, scale = quantize_weight(np.array([[1.27, -0.635], [0.0, 12.7]], np.float32), axis=-1)
    np.testing.assert_allclose(scale, [0.01, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(columns, [[127, -6], [0, 127]])


@pytest.mark.parametrize("target", list(RULES))
def test_the_graph_is_near_the_network_and_smaller(bundle: Path, target: str) -> None:
    opened = open_bundle(bundle)
    graph = opened.graph("search", "int8", (target,))
    assert 1e-4 < graph.parity.max_abs < 0.15, "int8 differs, but not by much"
    assert graph.calibration is not None
    assert graph.calibration.pairs == 72
    assert graph.calibration.data == read_crops(asset("calibration")).digest
    assert (bundle / graph.file).stat().st_size < 0.45 * (bundle / "search.onnx").stat().st_size
    template = opened.graph("template", "int8", (target,))
    assert template.file == ("template.fp16.onnx" if target == "tensorrt" else "template.onnx")


def test_onnx_runtime_runs_every_convolution_and_product_in_int8(bundle: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(bundle / "search.int8.ort.onnx", options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    constants = {tensor.name for tensor in graph.initializer}
    kinds = Counter(node.op_type for node in graph.node)
    unfused = [
        node.name
        for node in graph.node
        if node.op_type in ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Add", "Relu")
        and all(name in dequantised for name in node.input if name not in constants)
        and any(reader.op_type == "QuantizeLinear" for reader in graph.node if node.output[0] in reader.input)
    ]
    assert unfused == []
    assert kinds["Conv"] == kinds["FusedConv"] == kinds["Gemm"] == kinds["FusedGemm"] == 0
    fp32 = Counter(node.op_type for node in onnx.load(bundle / "search.ort.onnx").graph.node)
    assert kinds["QLinearConv"] == fp32["Conv"]
    assert kinds["QGemm"] + kinds["MatMulIntegerToFloat"] >= fp32["Gemm"]
    assert kinds["MultiHeadAttention"] == fp32["MultiHeadAttention"], "attention stays in fp32"
    assert kinds["LayerNormalization"] + kinds["SkipLayerNormalization"] == fp32["LayerNormalization"]


def test_tensorrt_gets_symmetric_scales_no_bias_and_only_safe_convolutions(bundle: Path) -> None:
    model = int8(bundle, "tensorrt")
    assert unsafe_int8_convolutions(model) == []
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        zero, scale = constant(model, node.input[2]), constant(model, node.input[1])
        assert zero.dtype == np.int8
        assert not zero.any()
        assert scale.dtype == np.float16
        assert (scale > 0).all(), "an fp16 scale must not vanish"
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Softmax", "LayerNormalization", "Gemm"):
            assert "DequantizeLinear" not in {makers.get(name) for name in node.input}
        if node.op_type == "Conv":
            assert len(node.input) < 3 or makers.get(node.input[2]) != "DequantizeLinear"
    shapes = {t.name: tuple(t.dims) for t in onnx.load(bundle / "search.fp16.onnx").graph.initializer}
    convolutions = [n for n in onnx.load(bundle / "search.fp16.onnx").graph.node if n.op_type == "Conv"]
    quantised = [n for n in model.graph.node if n.op_type == "Conv" and makers[n.input[0]] == "DequantizeLinear"]
    assert len(quantised) == sum(int8_safe(shapes[n.input[1]]) for n in convolutions) > 10


def test_openvino_runs_the_convolutions_in_int8(bundle: Path) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    model = core.read_model(str(bundle / "search.int8.openvino.onnx"))
    model.reshape({i.any_name: [1, *list(i.partial_shape)[1:]] for i in model.inputs})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = Counter(
        (op.get_rt_info()["layerType"].astype(str), op.get_rt_info()["runtimePrecision"].astype(str))
        for op in compiled.get_runtime_model().get_ordered_ops()
    )
    convolutions = {precision: n for (layer, precision), n in kinds.items() if layer == "Convolution"}
    assert convolutions.get("u8", 0) + convolutions.get("i8", 0) > 0.8 * sum(convolutions.values())
    assert any(layer == "FullyConnected" and precision in ("u8", "i8") for layer, precision in kinds)


def test_kept_nodes_stay_in_floating_point(bundle: Path) -> None:
    model = onnx.load(bundle / SOURCE["ort"])
    names = candidates(model, "ort")
    ranges = dict.fromkeys(tensors_needed(model, "ort"), (-1.0, 1.0))
    all_kept = quantize(model, ranges, "ort", keep=names)
    assert [n.op_type for n in all_kept.graph.node] == [n.op_type for n in model.graph.node]
    one_kept = quantize(model, ranges, "ort", keep=names[5:6])
    node = next(n for n in one_kept.graph.node if n.name == names[5])
    assert node.input[1] in {t.name for t in model.graph.initializer}
    with pytest.raises(UserError, match="no int8 target 'npu'"):
        candidates(model, "npu")


def test_ranges_are_the_values_seen_without_the_rarest(bundle: Path) -> None:
    pairs = photograph_pairs(2)
    names = [n for n in tensors_needed(onnx.load(bundle / "search.onnx"), "tensorrt") if n.startswith("relu")][:3]
    extremes = measure_ranges(bundle / "search.onnx", bundle / "template.onnx", pairs, names, "minmax")
    percentile = measure_ranges(bundle / "search.onnx", bundle / "template.onnx", pairs, names, "percentile")
    for name in names:
        low, high = extremes[name]
        assert low >= 0.0, "these follow a ReLU"
        assert low <= percentile[name][0] < percentile[name][1] <= high
        assert percentile[name][1] > 0.5 * high


def test_the_cache_stands_in_for_the_crops_but_not_for_another_graph(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(asset("calibration") / CACHE, tmp_path / CACHE)
    opened = open_bundle(bundle)
    names = tensors_needed(onnx.load(bundle / "search.ort.onnx"), "ort")
    store = RangeStore(tmp_path)
    files = (bundle / "search.ort.onnx", bundle / "template.onnx")
    ranges, count, digest = store.ranges(*files, names, weights_digest(opened.checkpoint()))
    assert (count, digest) == (72, read_crops(asset("calibration")).digest)
    assert set(names) <= set(ranges)
    with pytest.raises(CalibrationError, match="of another graph"):
        store.ranges(*files, names, "another checkpoint")
    with pytest.raises(CalibrationError, match="neither a calibration set nor a cache"):
        RangeStore(tmp_path / "empty")


def test_a_damaged_cache_is_one_sentence(tmp_path: Path) -> None:
    for text in ("{", '{"format": 1, "graphs": {"a": {"data": "x", "pairs": 1, "graph": "g", "ranges": {"t": [0]}}}}'):
        (tmp_path / CACHE).write_text(text)
        with pytest.raises(CalibrationError, match="remove it, and it is made again"):
            RangeStore(tmp_path)
    content = {
        "format": 1,
        "graphs": {"a": {"data": "x", "pairs": 1, "graph": "g", "ranges": {"t": [0, float("nan")]}}},
    }
    (tmp_path / CACHE).write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="not finite"):
        RangeStore(tmp_path)


def test_unknown_methods_and_targets_are_refused() -> None:
    with pytest.raises(CalibrationError, match="no int8 method 'guess'"):
        Int8Options(method="guess")
    with pytest.raises(CalibrationError, match="no int8 target 'npu'"):
        Int8Options(targets=("npu",))


def test_noise_is_refused(tmp_path: Path) -> None:
    from mvt_deploy.quantize.calibration_set import Recording, refuse_noise, write_crops

    random = np.random.default_rng(0)
    noise = [
        Recording(
            random.integers(0, 256, (128, 128, 3), np.uint8),
            random.integers(0, 256, (256, 256, 3), np.uint8),
            "noise",
            i,
            "path",
            0.5,
        )
        for i in range(16)
    ]
    write_crops(tmp_path / "noise", noise)
    with pytest.raises(CalibrationError, match="are noise"):
        read_crops(tmp_path / "noise")
    refuse_noise(CropPairs(photograph_pairs(4).template, photograph_pairs(4).search), "photographs")
