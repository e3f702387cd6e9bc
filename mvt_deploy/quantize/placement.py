"""Which nodes each target runs in int8, and how their inputs and outputs are quantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from ..backends.tensorrt.lint import int8_safe
from ..errors import UserError


@dataclass(frozen=True, slots=True)
class Rule:
    """How a target wants its Q/DQ nodes.

    Attributes:
        operators: what runs in int8; products only where one side is constant.
        symmetric: activations as int8 around zero, where others take uint8 with a zero point.
        outputs: a node's result is quantised too, with a ReLU behind it absorbed by the zero point: ONNX Runtime's
            int8 convolution has no other form.
        additions: a residual sum between quantised values is quantised, so that the chain stays in int8.
        bias: biases as int32 in the product of the scales; otherwise they stay as they are.
        safe_only: only convolutions that every TensorRT has an int8 kernel for.
    """

    operators: frozenset[str]
    symmetric: bool = False
    outputs: bool = False
    additions: bool = False
    bias: bool = False
    safe_only: bool = False


RULES: Mapping[str, Rule] = {
    "ort": Rule(frozenset({"Conv", "Gemm", "MatMul"}), outputs=True, additions=True, bias=True),
    "openvino": Rule(frozenset({"Conv", "Gemm", "MatMul"})),
    "tensorrt": Rule(frozenset({"Conv"}), symmetric=True, safe_only=True),
}
"""By target. Attention's own products, softmax and LayerNormalization have no constant side, or are not listed: they
stay in floating point everywhere."""


def rule(target: str) -> Rule:
    """The rule of a target.

    Raises:
        UserError: there is no such target.
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
        model: a search graph in floating point.
        target: ``"ort"``, ``"openvino"`` or ``"tensorrt"``.

    Raises:
        UserError: there is no such target.
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
