"""The int8 graphs of a bundle: one search graph per target, beside the floating-point template graph it goes with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import onnx

from ..bundle import Bundle, GraphInfo, graph_file, write_manifest
from ..crops import photograph_pairs
from ..export.parity import Batch, measure, reference
from ..export.session import runner
from ..files import sha256
from ..network import load_checkpoint
from ..progress import SILENT, Progress
from .placement import rule
from .qdq import OPSET, quantize
from .ranges import RangeStore
from .source import Int8Options, QuantizationSource, open_quantization_source


def quantize_bundle(bundle: Bundle, options: Int8Options, store: RangeStore, progress: Progress = SILENT) -> Bundle:
    """Write int8 search graphs into a bundle's folder and enter them in its manifest.

    Args:
        bundle: Bundle with fp32 graphs, and fp16 graphs for the target ``tensorrt``.
        options: Method and targets.
        store: Calibration folder.
        progress: Receives what is being done.

    Returns:
        The bundle with the int8 graphs.

    Raises:
        CalibrationError: There are no ranges for a graph.
        ParityError: A graph differs from the PyTorch network by more than the tolerance of int8.
    """
    for side in bundle.search_sizes:
        batches = _reference(bundle, side)
        for target in options.targets:
            source = open_quantization_source(bundle, target, options.method, store, side)
            progress.message(f"quantising {graph_file('search', 'int8', target, side)}")
            bundle = write_int8(bundle, source, batches=batches)
    return bundle


def write_int8(
    bundle: Bundle,
    source: QuantizationSource,
    keep: Collection[str] = (),
    batches: list[Batch] | None = None,
) -> Bundle:
    """Quantise, check and compare one search graph, and enter it in the manifest in place of an earlier one.

    Args:
        bundle: Bundle whose folder is written to.
        source: What the graph is made from.
        keep: Names of nodes that stay in floating point.
        batches: Crops with the network's answers; None computes them from the bundle's checkpoint.

    Returns:
        The bundle with the graph.

    Raises:
        ParityError: The graph differs from the PyTorch network by more than the tolerance of int8.
    """
    bundle, info = _write(bundle, source, keep)
    search = runner(bundle.folder / info.file, fuse_qdq=rule(source.target).fuse_qdq)
    parity = measure(runner(source.template_file), search, batches or _reference(bundle, info.side), "int8")
    return _enter(bundle, replace(info, parity=parity))


def write_candidate(bundle: Bundle, source: QuantizationSource, keep: Collection[str]) -> Bundle:
    """Quantise one search graph without comparing it with the network, to be judged by its trajectories.

    Args:
        bundle: Bundle whose folder is written to.
        source: What the graph is made from.
        keep: Names of nodes that stay in floating point.
    """
    return _write(bundle, source, keep)[0]


def _reference(bundle: Bundle, side: int) -> list[Batch]:
    return reference(load_checkpoint(bundle.checkpoint()), photograph_pairs(search_size=side))


def _write(bundle: Bundle, source: QuantizationSource, keep: Collection[str]) -> tuple[Bundle, GraphInfo]:
    model = quantize(source.model, source.ranges, source.target, keep)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**properties, "precision": "int8", "target": source.target})
    onnx.checker.check_model(model, full_check=True)
    path = bundle.folder / graph_file("search", "int8", source.target, source.search.side)
    onnx.save(model, path)
    info = replace(
        source.search,
        file=path.name,
        sha256=sha256(path),
        precision="int8",
        target=source.target,
        opset=OPSET,
        calibration=replace(source.calibration, kept=sorted(keep)),
    )
    bundle = _enter(bundle, replace(source.template, precision="int8", target=source.target))
    return _enter(bundle, info), info


def _enter(bundle: Bundle, info: GraphInfo) -> Bundle:
    """The bundle with a graph's description in its manifest, in place of one of the same kind and side."""

    def key(graph: GraphInfo) -> tuple[str, str, str, int]:
        return graph.role, graph.precision, graph.target, graph.side

    by_key = {key(graph): graph for graph in (*bundle.manifest.graphs, info)}  # a key keeps its place
    manifest = replace(bundle.manifest, graphs=list(by_key.values()))
    write_manifest(bundle.folder, manifest)
    return Bundle(bundle.folder, manifest)
