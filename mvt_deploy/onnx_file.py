"""What an ONNX file declares, read before any runtime opens it and without the ``onnx`` package.

Only the outline is decoded: inputs, outputs, and whether any tensor, however deep in subgraphs and functions, keeps its
values in another file. Field numbers are those of ``onnx.proto``; the encoding is Protocol Buffers'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# message → field number → message it holds
_NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
_TYPES[16] = "bfloat16"

Signature = tuple[str, str, tuple[int | str, ...]]
"""Name, dtype and shape of an input or output; a dimension is a number or a name."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a model declares.

    Attributes:
        inputs: Inputs of the main graph, in their order.
        outputs: Outputs of the main graph, in their order.
        external: Whether any tensor keeps its values in another file.
    """

    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    external: bool


def outline(data: bytes) -> Outline:
    """Read the outline of an ONNX model.

    Args:
        data: Content of the file.

    Raises:
        ValueError: The bytes are no Protocol Buffers message, or no model with a graph.
    """
    inputs: list[Signature] = []
    outputs: list[Signature] = []
    external, graphs = False, 0
    waiting: list[tuple[str, memoryview, int]] = [("model", memoryview(data), 0)]
    while waiting:  # a list, not recursion: nesting in the file costs no stack
        message, content, depth = waiting.pop()
        for number, value in _fields(content):
            if message == "tensor":  # external_data, data_location
                external = external or number == 13 or (number == 14 and value != 0)
            elif (nested := _NESTED[message].get(number)) is not None:
                waiting.append((nested, _bytes(value), depth + 1))
                graphs += message == "model" and nested == "graph"
            elif message == "graph" and depth == 1 and number in (11, 12):
                (inputs if number == 11 else outputs).append(_signature(_bytes(value)))
    if graphs != 1:
        raise ValueError(f"{graphs} graphs instead of one")
    return Outline(tuple(inputs), tuple(outputs), external)


def _signature(content: memoryview) -> Signature:
    name, dtype, shape = "", "", list[int | str]()
    for number, value in _fields(content):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for kind, tensor in _fields(_bytes(value)):
                if kind != 1:
                    raise ValueError(f"'{name}' is no tensor")
                for part, held in _fields(_bytes(tensor)):
                    if part == 1:
                        dtype = _TYPES.get(held, f"type {held}") if isinstance(held, int) else ""
                    elif part == 2:
                        shape += [_dimension(_bytes(d)) for n, d in _fields(_bytes(held)) if n == 1]
    return name, dtype, tuple(shape)


def _dimension(content: memoryview) -> int | str:
    size: int | str = ""
    for number, value in _fields(content):
        if number == 1 and isinstance(value, int):
            size = value
        elif number == 2:
            size = _text(value)
    return size


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of one message: numbers as they are, everything with a length as bytes."""
    at, end = 0, len(content)
    while at < end:
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = _varint(content, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if length > end - at:
            raise ValueError("it ends in the middle")
        yield tag >> 3, content[at : at + length]
        at += length


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise ValueError("it ends in the middle")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode()
