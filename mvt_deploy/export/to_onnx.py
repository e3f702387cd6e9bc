"""One graph to one checked and simplified ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxsim
import torch
from torch import Tensor

from ..bundle import TensorInfo
from ..errors import ParityError
from ..version import __version__
from .graphs import FEATURE, Graph

OPSET = 18
"""LayerNormalization needs 17; 18 is what the exporter writes natively and every runtime here reads."""
BATCH = "n"
"""Name of the dynamic batch dimension, which is the number of targets."""
_EXAMPLE_BATCH = 2  # 0 and 1 would be taken for constants


def example_inputs(template: Graph, search: Graph) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Example inputs of the template graph and of the search graph, for tracing."""
    crops = [torch.zeros(_EXAMPLE_BATCH, g.size, g.size, 3, dtype=torch.uint8) for g in (template, search)]
    with torch.inference_mode():
        features = template(crops[0])
    return (crops[0],), (crops[1], *(torch.empty_like(f) for f in features))


def to_onnx(
    graph: Graph, inputs: tuple[Tensor, ...], path: Path, metadata: dict[str, str] | None = None
) -> onnx.ModelProto:
    """Export a graph with a dynamic batch dimension, simplify it, check it in full and write it.

    Args:
        graph: The module to export.
        inputs: Example inputs; the first dimension of each is the batch.
        path: File to write.
        metadata: Properties to store in the file beside its role.

    Returns:
        The model that was written.

    Raises:
        ParityError: The simplifier changed the graph's results.
    """
    batch = torch.export.Dim(BATCH, min=1, max=256)
    with quiet():
        program = torch.onnx.export(
            graph,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=({0: batch}, tuple({0: batch} for _ in inputs[1:]))[
                : 1 + (len(inputs) > 1)
            ],  # crop, *template
        )
        assert program is not None
        model, same = onnxsim.simplify(program.model_proto)
    if not same:
        raise ParityError(f"the simplified {graph.role} graph differs from the exported one: nothing was written.")
    _name_batch(model)
    _name_layers(model)
    _remove_notes(model)
    _document(model, graph, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return model


def tensors(values: Any) -> list[TensorInfo]:
    """Names, types and shapes of a model's inputs or outputs (a repeated ``ValueInfoProto``)."""
    return [
        TensorInfo(
            value.name,
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]


def _name_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH


def _remove_notes(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: source lines and paths of the exporting machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""


def _document(model: onnx.ModelProto, graph: Graph, metadata: dict[str, str]) -> None:
    """Write down what the graph, its inputs and its outputs mean, where viewers such as Netron show it."""
    onnx.helper.set_model_props(model, {"role": graph.role, **metadata})
    model.producer_name, model.producer_version = "mvt-deploy", __version__
    model.doc_string, model.graph.name = graph.summary, graph.role
    described = {**graph.descriptions, **dict.fromkeys(graph.template_features, FEATURE)}
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = described[value.name]


def _name_layers(model: onnx.ModelProto) -> None:
    """Name every convolution and product after its module, which `sensitivity`, profiles and engine plans then show."""
    modules = {
        t.name: t.name.rpartition(".")[0] for t in model.graph.initializer if t.name.endswith((".weight", ".bias"))
    }
    uses: Counter[str] = Counter()
    for node in model.graph.node:
        module = next((modules[name] for name in node.input[1:] if name in modules), None)
        if module and node.op_type in ("Conv", "Gemm"):
            uses[module] += 1
            node.name = module if uses[module] == 1 else f"{module}:{uses[module]}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the exporter's warnings and its report on stdout."""
    logger = logging.getLogger("torch.onnx")
    level, logger.level = logger.level, logging.ERROR
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.level = level
