"""The lint that keeps int8 off convolutions full TensorRT has no kernel for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper

from mvt_deploy.backends.tensorrt.lint import UnsafeConvolution, int8_safe, require_int8_safe, unsafe_int8_convolutions
from mvt_deploy.errors import BackendError


def _model(shape: tuple[int, ...], groups: int = 1, weight: str = "dq", activation: bool = True) -> Any:
    """One convolution; its weight behind DequantizeLinear (``dq``), behind Q and DQ (``qdq``), or plain."""
    channels = shape[1] * groups
    scale, zero = numpy_helper.from_array(np.float32(0.1), "scale"), numpy_helper.from_array(np.int8(0), "zero")
    kind = np.int8 if weight == "dq" else np.float32
    tensors = [scale, zero, numpy_helper.from_array(np.zeros(shape, kind), "w")]
    nodes = []
    if activation:
        nodes += [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        ]
    if weight == "qdq":
        nodes.append(helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["wq"]))
    if weight != "plain":
        source = "wq" if weight == "qdq" else "w"
        nodes.append(helper.make_node("DequantizeLinear", [source, "scale", "zero"], ["wd"]))
    inputs = ["xd" if activation else "x", "w" if weight == "plain" else "wd"]
    nodes.append(helper.make_node("Conv", inputs, ["y"], name="the_conv", group=groups))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors))


@pytest.mark.parametrize("weight", ["dq", "qdq"])
@pytest.mark.parametrize(
    ("shape", "groups", "safe"),
    [
        ((64, 64, 3, 3), 1, True),
        ((4, 4, 1, 1), 1, True),
        ((16, 3, 3, 3), 1, False),  # stem
        ((64, 1, 3, 3), 64, False),  # depthwise
        ((1, 32, 1, 1), 1, False),  # score
        ((2, 32, 1, 1), 1, False),  # size, offset
        ((128, 64, 3, 3), 2, True),
    ],
)
def test_by_weight_shape(shape: tuple[int, ...], groups: int, safe: bool, weight: str) -> None:
    model = _model(shape, groups, weight)
    assert int8_safe(shape) is safe
    assert unsafe_int8_convolutions(model) == ([] if safe else [UnsafeConvolution("the_conv", shape)])


def test_what_is_not_int8_is_no_concern() -> None:
    assert unsafe_int8_convolutions(_model((1, 32, 1, 1), weight="plain")) == []
    assert unsafe_int8_convolutions(_model((1, 32, 1, 1), activation=False)) == []


def test_the_sentence_names_them() -> None:
    require_int8_safe(_model((64, 64, 3, 3)), "search.int8.onnx")
    with pytest.raises(BackendError, match=r"search\.int8\.onnx .*the_conv \[1, 32, 1, 1\].*multiples of 4"):
        require_int8_safe(_model((1, 32, 1, 1)), "search.int8.onnx")
