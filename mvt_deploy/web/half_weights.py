"""fp32 graphs whose weights are stored in half precision: half the download, and the arithmetic of fp32."""

from __future__ import annotations

import numpy as np

from ..errors import MissingExtra

_SMALLEST = 256
"""Number of values from which on a tensor is worth a node of its own."""


def store_weights_as_fp16(model: bytes) -> bytes:
    """Store a graph's fp32 weights in fp16, each with a Cast back to fp32 in front of its readers.

    ONNX Runtime computes the casts once, when it opens the graph, so that a search takes as long as before. What
    changes is the weights' rounding, by at most 2**-11 of a weight.

    Args:
        model: Content of an ONNX file.

    Returns:
        Content of the smaller file; inputs and outputs stay as they are.

    Raises:
        MissingExtra: The package ``onnx`` is not installed.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise MissingExtra("storing weights in fp16", "package", error.name or "onnx") from error
    loaded = onnx.load_model_from_string(model)
    casts = []
    for tensor in loaded.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _SMALLEST or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}/fp32", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *loaded.graph.node]
    del loaded.graph.node[:]
    loaded.graph.node.extend(nodes)
    return bytes(loaded.SerializeToString(deterministic=True))
