"""What ONNX Runtime's own usability checker says of a graph, for the accelerators of phones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

XNNPACK_OPERATORS = frozenset(
    {"Conv", "ConvTranspose", "AveragePool", "MaxPool", "GlobalAveragePool", "Softmax", "Resize", "Gemm", "MatMul"}
    | {"QLinearConv", "QLinearConvTranspose", "QLinearAveragePool", "QLinearSoftmax"}
)
"""Operators of which ONNX Runtime's documentation says that the XNNPACK provider may take them; it has no checker."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """How an execution provider would divide a graph.

    Attributes:
        provider: ``"NNAPI"``, ``"CoreML NeuralNetwork"`` or ``"CoreML MLProgram"``.
        supported: Number of nodes the provider takes.
        nodes: Number of nodes of the graph.
        parts: Number of connected parts that the provider's nodes form; data is copied at the borders of each.
        verdict: ``"YES"``, ``"MAYBE"`` or ``"NO"``: the checker's answer to whether the provider is worth a try.
        missing: Operators that the provider does not take.
    """

    provider: str
    supported: int
    nodes: int
    parts: int
    verdict: str
    missing: list[str]


@dataclass(frozen=True, slots=True)
class Usability:
    """The checker's answers for one graph, and the share of nodes whose operators XNNPACK knows."""

    partitions: list[Partitions]
    xnnpack: int
    nodes: int


def report(path: Path) -> Usability:
    """Ask the checker about an ONNX file with fixed shapes."""
    from onnxruntime.tools.mobile_helpers import usability_checker as checker
    from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo

    model = ModelProtoWithShapeInfo(path).model_with_shape_info
    found = [
        _partitions("NNAPI", checker.check_nnapi_partitions(model, True)),
        _partitions(
            "CoreML NeuralNetwork",
            checker.check_coreml_partitions(model, True, "coreml_supported_neuralnetwork_ops.md"),
        ),
        _partitions(
            "CoreML MLProgram", checker.check_coreml_partitions(model, True, "coreml_supported_mlprogram_ops.md")
        ),
    ]
    xnnpack = sum(node.op_type in XNNPACK_OPERATORS for node in model.graph.node)
    return Usability(found, xnnpack, len(model.graph.node))


def _partitions(provider: str, info: Any) -> Partitions:
    missing = sorted(str(name).removeprefix("ai.onnx:") for name in info.unsupported_ops)
    return Partitions(
        provider, info.num_supported_nodes, info.num_nodes, info.num_partitions, info.suitability().name, missing
    )
