"""Which nodes each runtime runs in int8, and how their inputs and outputs are quantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from ..backends.tensorrt.lint import int8_safe
from ..errors import UserError


@dataclass(frozen=True, slots=True)
class Rule:
    """How a runtime expects its Q/DQ nodes.

    Attributes:
        precision: Precision of the runtime's graphs that the int8 graph is made from, which unquantised nodes keep.
        operators: Operators that run in int8; products only where one side is constant.
        symmetric: Quantise activations to int8 around zero; otherwise to uint8 with a zero point.
        outputs: Quantise a node's result too, with a ReLU behind it absorbed by the zero point: ONNX Runtime's int8
            convolution has no other form.
        additions: Quantise a residual sum of quantised values, so that the chain stays in int8.
        bias: Store biases as int32 in the product of the scales; otherwise they stay in floating point.
        safe_only: Quantise only convolutions that every TensorRT version has an int8 kernel for.
        fuse_qdq: ONNX Runtime may turn the Q/DQ pairs into its own int8 operators. It computes wrong numbers when it
            does so with the fp16 pairs of TensorRT's graph.
    """

    precision: str
    operators: frozenset[str]
    symmetric: bool = False
    outputs: bool = False
    additions: bool = False
    bias: bool = False
    safe_only: bool = False
    fuse_qdq: bool = True


RULES: Mapping[str, Rule] = {
    "ort": Rule("fp32", frozenset({"Conv", "Gemm", "MatMul"}), outputs=True, additions=True, bias=True),
    "openvino": Rule("fp32", frozenset({"Conv", "Gemm", "MatMul"})),
    "tensorrt": Rule("fp16", frozenset({"Conv"}), symmetric=True, safe_only=True, fuse_qdq=False),
}
"""Rules by target. Attention's products, softmax and LayerNormalization stay in floating point everywhere: they have no
constant side, or are not listed."""


def rule(target: str) -> Rule:
    """The rule of a target (``"ort"``, ``"openvino"`` or ``"tensorrt"``).

    Raises:
        UserError: There is no such target.
    """
    if target not in RULES:
        raise UserError(f"there is no int8 target '{target}': choose one of {', '.join(RULES)}.")
    return RULES[target]


def weight_axis(node: onnx.NodeProto) -> int:
    """The axis of a node's weight that runs over output channels."""
    if node.op_type == "Conv":
        return 0
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if transposed else -1


def candidates(model: onnx.ModelProto, target: str) -> list[str]:
    """Names of the nodes that a target runs in int8, in the graph's order.

    Args:
        model: A search graph in floating point.
        target: ``"ort"``, ``"openvino"`` or ``"tensorrt"``.

    Raises:
        UserError: There is no such target.
    """
    wanted = rule(target)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in wanted.operators
        and node.input[1] in shapes
        and len(shapes[node.input[1]]) >= 2
        and (not wanted.safe_only or int8_safe(shapes[node.input[1]]))
    ]
