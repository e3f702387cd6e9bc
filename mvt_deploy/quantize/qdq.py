"""A floating-point graph with Q/DQ nodes around what a target runs in int8."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from .placement import Rule, candidates, rule, weight_axis

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value in use, by tensor name."""

OPSET = 19
"""The first opset with Q/DQ of fp16 tensors."""
_LARGEST = {np.dtype(np.uint8): 255, np.dtype(np.int8): 127}


@dataclass(frozen=True, slots=True)
class Scale:
    """An activation's quantisation, ``value = scale * (q - zero)``.

    Attributes:
        scale: Step between neighbouring values.
        zero: Zero point; its type is that of the quantised values.
    """

    scale: float
    zero: np.uint8 | np.int8


def activation_scale(low: float, high: float, symmetric: bool) -> Scale:
    """The quantisation that covers a range and represents zero exactly.

    Args:
        low: Lowest value of the range.
        high: Highest value of the range.
        symmetric: Quantise to int8 from -127 to 127 without a zero point (TensorRT's form), otherwise to uint8.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Scale(max(-low, high, 1e-12) / 127, np.int8(0))
    scale = max(high - low, 1e-12) / 255
    return Scale(scale, np.uint8(np.clip(round(-low / scale), 0, 255)))


def quantize_weight(
    weight: npt.NDArray[np.floating], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantise a weight to symmetric int8 with one scale per output channel.

    Args:
        weight: Weight of a convolution or product.
        axis: Axis of the output channels.

    Returns:
        The quantised weight, int8 in the same shape, and the scales, float32 ``[channels]``.
    """
    values = weight.astype(np.float32)
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12) / 127
    return np.clip(np.rint(values / scale), -127, 127).astype(np.int8), scale.ravel().astype(np.float32)


def tensors_needed(model: onnx.ModelProto, target: str) -> list[str]:
    """The activations whose ranges :func:`quantize` asks for, in the graph's order."""
    return _Plan(model, rule(target), set(candidates(model, target))).needed()


def quantize(model: onnx.ModelProto, ranges: Ranges, target: str, keep: Collection[str] = ()) -> onnx.ModelProto:
    """Quantise a search graph for a target.

    Args:
        model: The graph in floating point (fp16 for TensorRT); it is not changed.
        ranges: Range of every tensor that :func:`tensors_needed` names.
        target: ``"ort"``, ``"openvino"`` or ``"tensorrt"``.
        keep: Names of nodes that stay in floating point.

    Returns:
        The graph with QuantizeLinear and DequantizeLinear nodes and the same inputs and outputs.

    Raises:
        UserError: There is no such target.
        KeyError: A range is missing.
    """
    chosen = set(candidates(model, target)) - set(keep)
    return _Writer(copy.deepcopy(model), rule(target), chosen, ranges).write()


class _Plan:
    """Which nodes run in int8, and which tensors are quantised for them."""

    def __init__(self, model: onnx.ModelProto, wanted: Rule, chosen: set[str]) -> None:
        self.graph, self.rule, self.chosen = model.graph, wanted, set(chosen)
        self.outputs = {value.name for value in self.graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.makers = {name: node for node in self.graph.node for name in node.output}
        if wanted.additions:
            self.chosen |= self._additions()

    def absorbed(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The ReLU that alone reads a node's result, where the rule absorbs it; otherwise None."""
        out = node.output[0]
        if not self.rule.outputs or out in self.outputs or len(self.readers[out]) != 1:
            return None
        reader = self.readers[out][0]
        return reader if reader.op_type == "Relu" else None

    def result(self, node: onnx.NodeProto) -> str | None:
        """Name of the tensor that is quantised behind a chosen node; None where its result stays in floating point."""
        relu = self.absorbed(node)
        # A product's result is read by LayerNormalization or a sum in floating point, unless a ReLU follows it.
        if not self.rule.outputs or (node.op_type not in ("Conv", "Add") and relu is None):
            return None
        name = relu.output[0] if relu is not None else node.output[0]
        return None if name in self.outputs else name

    def operands(self, node: onnx.NodeProto) -> list[str]:
        """Names of the activations that a chosen node reads."""
        return list(node.input) if node.op_type == "Add" else [node.input[0]]

    def needed(self) -> list[str]:
        names: dict[str, None] = {}
        for node in self.graph.node:
            if node.name in self.chosen:
                names.update(dict.fromkeys(self.operands(node)))
                if (result := self.result(node)) is not None:
                    names[result] = None
        return list(names)

    def _additions(self) -> set[str]:
        """Names of the sums of two activations that quantised nodes write."""
        found: set[str] = set()
        for node in self.graph.node:
            if node.op_type != "Add" or node.output[0] in self.outputs:
                continue
            makers = [self.makers.get(name) for name in node.input]
            if all(m is not None and m.name in self.chosen | found and m.op_type in ("Conv", "Add") for m in makers):
                found.add(node.name)
        return found


class _Writer:
    """Writes the Q/DQ nodes of a plan into a model, which it changes in place."""

    def __init__(self, model: onnx.ModelProto, wanted: Rule, chosen: set[str], ranges: Ranges) -> None:
        self.model, self.rule, self.ranges = model, wanted, ranges
        self.plan = _Plan(model, wanted, chosen)
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.constants: dict[str, npt.NDArray[np.generic]] = {}
        self.scales: dict[str, Scale] = {}
        self.ready: dict[str, str] = {}  # tensor name -> name of its dequantised form
        self.nodes: list[onnx.NodeProto] = []

    def write(self) -> onnx.ModelProto:
        renamed: dict[str, str] = {}  # tensor name -> name that later nodes read instead
        dropped: set[str] = set()
        for node in list(self.model.graph.node):
            if node.name in dropped:
                continue
            for i, name in enumerate(node.input):
                node.input[i] = renamed.get(name, name)
            if node.name not in self.plan.chosen:
                self.nodes.append(node)
                continue
            self._operands(node)
            result = self.plan.result(node)
            if result is not None and (relu := self.plan.absorbed(node)) is not None:
                dropped.add(relu.name)
                node.output[0] = result
            self.nodes.append(node)
            if result is not None:
                renamed[result] = self._pair(result)
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in self.constants.items())
        for opset in self.model.opset_import:
            if opset.domain in ("", "ai.onnx"):
                opset.version = max(opset.version, OPSET)
        return self.model

    def _operands(self, node: onnx.NodeProto) -> None:
        activations = 2 if node.op_type == "Add" else 1
        for i in range(activations):
            node.input[i] = self._pair(node.input[i])
        if node.op_type == "Add":
            return
        weight = self._weight(node)
        if self.rule.bias and len(node.input) > 2 and node.input[2] in self.initializers:
            self._bias(node, weight)

    def _pair(self, name: str) -> str:
        """Write the Q/DQ pair behind a tensor where it is first needed; returns the name of its output."""
        if name in self.ready.values():
            return name
        if name not in self.ready:
            low, high = self.ranges[name]
            scale = activation_scale(low, high, self.rule.symmetric)
            out = f"{name}/dequantised"
            constants = [
                self._constant(f"{name}/scale", self._float(scale.scale)),
                self._constant(f"{name}/zero", np.asarray(scale.zero)),
            ]
            self._node("QuantizeLinear", [name, *constants], f"{name}/quantised")
            self._node("DequantizeLinear", [f"{name}/quantised", *constants], out)
            self.ready[name], self.scales[out] = out, scale
        return self.ready[name]

    def _weight(self, node: onnx.NodeProto) -> npt.NDArray[np.float32]:
        """Replace a node's weight by an int8 one; returns its scales."""
        name, axis = node.input[1], weight_axis(node)
        stored = numpy_helper.to_array(self.initializers[name])
        values, scale = quantize_weight(stored, axis)
        out = f"{name}/dequantised"
        if out not in self.ready.values():
            inputs = [
                self._constant(f"{name}/quantised", values),
                self._constant(f"{name}/scale", scale.astype(stored.dtype)),
                self._constant(f"{name}/zero", np.zeros(len(scale), np.int8)),
            ]
            self._node("DequantizeLinear", inputs, out, axis=axis % stored.ndim)
            self.ready[name] = out
        node.input[1] = out
        return scale

    def _bias(self, node: onnx.NodeProto, weight: npt.NDArray[np.float32]) -> None:
        name = node.input[2]
        stored = numpy_helper.to_array(self.initializers[name]).astype(np.float64)
        scale = (self.scales[node.input[0]].scale * weight.astype(np.float64)).astype(np.float32)
        values = np.clip(np.rint(stored / scale), -(2**31), 2**31 - 1).astype(np.int32)
        own = f"{node.name}/bias"
        inputs = [
            self._constant(f"{own}/quantised", values),
            self._constant(f"{own}/scale", scale),
            self._constant(f"{own}/zero", np.zeros(len(scale), np.int32)),
        ]
        self._node("DequantizeLinear", inputs, own, axis=0)
        node.input[2] = own

    def _float(self, value: float) -> npt.NDArray[np.generic]:
        """A scale in the floating-point type of the graph."""
        half = any(t.data_type == onnx.TensorProto.FLOAT16 for t in self.model.graph.initializer)
        return np.asarray(value, np.float16 if half else np.float32)

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants[name] = value
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: int) -> None:
        node = helper.make_node(operator, inputs, [output], name=output)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
