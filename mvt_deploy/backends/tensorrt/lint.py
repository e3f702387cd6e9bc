"""Which convolutions may be int8: full TensorRT has no kernels for some weight shapes that TensorRT-RTX accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import BackendError

if TYPE_CHECKING:
    import onnx

MULTIPLE = 4
"""Output channels, and input channels per group, of an int8 convolution are multiples of it."""


@dataclass(frozen=True, slots=True)
class UnsafeConvolution:
    """An int8 convolution without a kernel in full TensorRT.

    Attributes:
        name: Name of the node.
        shape: Shape of its weight, ``[out, in / groups, h, w]``.
    """

    name: str
    shape: tuple[int, ...]


def int8_safe(weight_shape: Sequence[int]) -> bool:
    """Whether a convolution with this weight ``[out, in / groups, h, w]`` has int8 kernels in every TensorRT.

    Depthwise convolutions, the three-channel stem and one- or two-channel outputs have none.
    """
    return weight_shape[0] % MULTIPLE == 0 and weight_shape[1] % MULTIPLE == 0


def unsafe_int8_convolutions(model: onnx.ModelProto) -> list[UnsafeConvolution]:
    """The convolutions between Q/DQ whose weight shapes are not :func:`int8_safe`.

    A convolution counts as int8 if its input and its weight both come from ``DequantizeLinear``.
    """
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    unsafe = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        sources = [makers.get(name) for name in node.input[:2]]
        if not all(source is not None and source.op_type == "DequantizeLinear" for source in sources):
            continue
        shape = _weight_shape(sources[1], makers, shapes)
        if shape is not None and not int8_safe(shape):
            unsafe.append(UnsafeConvolution(node.name or node.output[0], shape))
    return unsafe


def require_int8_safe(model: onnx.ModelProto, name: str) -> None:
    """Refuse a graph that full TensorRT may have no int8 kernels for.

    Raises:
        BackendError: Naming every such convolution.
    """
    if unsafe := unsafe_int8_convolutions(model):
        listed = ", ".join(f"{u.name} {list(u.shape)}" for u in unsafe)
        raise BackendError(
            f"{name} quantises convolutions that TensorRT has no int8 kernel for ({listed}): leave out those whose "
            f"channels are not multiples of {MULTIPLE}, and export the bundle again."
        )


def _weight_shape(
    dequantize: onnx.NodeProto | None, makers: dict[str, onnx.NodeProto], shapes: dict[str, tuple[int, ...]]
) -> tuple[int, ...] | None:
    """Shape of the constant behind a DequantizeLinear, directly or through a QuantizeLinear."""
    while dequantize is not None:
        source = dequantize.input[0]
        if source in shapes:
            return shapes[source]
        dequantize = makers.get(source)
        if dequantize is None or dequantize.op_type != "QuantizeLinear":
            return None
    return None
