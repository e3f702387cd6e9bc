"""The export as a whole: a checkpoint becomes a bundle of floating-point graphs that were compared with the network."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import datetime, timezone
from pathlib import Path

import onnx
import onnxruntime
import onnxscript
import onnxsim
import torch

from .. import bundle as bundles
from ..assets import asset
from ..bundle import Bundle, CheckpointInfo, GraphInfo, Manifest, TrackerSpec, graph_file, open_bundle
from ..crops import photograph_pairs
from ..files import sha256
from ..network import MVT, load_checkpoint, save_checkpoint
from ..progress import SILENT, Progress
from ..version import __version__
from .graphs import Graph, cast, split
from .parity import Batch, measure, reference
from .rewrites import ORT, PORTABLE, REWRITES, apply
from .session import runner
from .to_onnx import OPSET, example_inputs, tensors, to_onnx

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
TARGETS = {"fp32": ("portable", "ort"), "fp16": ("portable",)}
"""Runtimes that have a search graph of their own at a precision; ``ort`` graphs use ONNX Runtime's own operators."""
TARGET_REWRITES = {"portable": PORTABLE, "ort": ORT}
_DEFAULT_CHECKPOINT = "mvt.safetensors"
_TOOLS = (torch, onnx, onnxscript, onnxsim, onnxruntime)


def export_bundle(
    checkpoint: Path | None = None,
    folder: Path = bundles.DEFAULT,
    *,
    search_sizes: Collection[int] = (),
    fp16: bool = False,
    rewrites: Collection[str] = tuple(REWRITES),
    progress: Progress = SILENT,
) -> Bundle:
    """Export a checkpoint as a bundle of floating-point graphs; the bundle is written whole or not at all.

    :func:`mvt_deploy.quantize.build.build_bundle` adds int8 graphs and judges every graph below fp32.

    Args:
        checkpoint: A ``.safetensors`` or ``.pth.tar`` file; None is the default checkpoint that ships with the package.
        folder: Folder of the bundle. An earlier bundle there is replaced; anything else is refused.
        search_sizes: Sides in pixels of search crops to add graphs for, beside the default side of 256.
        fp16: Add fp16 graphs to the fp32 ones.
        rewrites: Names of the exact rewrites to apply (see :mod:`.rewrites`); all of them by default.
        progress: Receives what is being done.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit the network.
        ParityError: A graph differs from the network by more than its tolerance.
        BundleError: The network cannot take a side, or the folder cannot be written, or holds something that is not a
            bundle.
    """
    sides = export_sides(search_sizes)
    with bundles.staging(folder) as place:
        write_graphs(checkpoint, place, name=folder.name, sides=sides, fp16=fp16, rewrites=rewrites, progress=progress)
    return open_bundle(folder)


def export_sides(search_sizes: Collection[int]) -> tuple[int, ...]:
    """The sides in pixels of the search graphs of a bundle: the default one, then those asked for, smallest first.

    Raises:
        BundleError: The network cannot take a side.
    """
    spec = TrackerSpec()
    others = {spec.at(side).search_size for side in search_sizes} - {spec.search_size}
    return (spec.search_size, *sorted(others))


def write_graphs(
    checkpoint: Path | None,
    folder: Path,
    *,
    name: str,
    sides: Sequence[int],
    fp16: bool = False,
    rewrites: Collection[str] = tuple(REWRITES),
    progress: Progress = SILENT,
) -> Bundle:
    """Write checkpoint, floating-point graphs and manifest into a folder that exists.

    Every graph is run in ONNX Runtime on crops of photographs and compared with the PyTorch network.

    Args:
        checkpoint: As in :func:`export_bundle`.
        folder: Folder to write into.
        name: Name of the bundle in its manifest.
        sides: Sides in pixels of the search crops, the default one first.
        fp16: Add fp16 graphs.
        rewrites: Names of the exact rewrites to apply.
        progress: Receives what is being done.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit the network.
        ParityError: A graph differs from the network by more than its tolerance.
    """
    model = load_checkpoint(checkpoint or asset(_DEFAULT_CHECKPOINT))
    save_checkpoint(model, folder / bundles.CHECKPOINT)
    references = {side: reference(model, photograph_pairs(search_size=side)) for side in sides}
    graphs: list[GraphInfo] = []
    for precision in ("fp32", *(["fp16"] if fp16 else [])):
        for side, batches in references.items():
            graphs += _export_precision(model, precision, side, folder, rewrites, batches, progress)
    manifest = Manifest(
        format=bundles.FORMAT,
        name=name,
        created=_now().isoformat(timespec="seconds"),
        checkpoint=CheckpointInfo(
            bundles.CHECKPOINT,
            sha256(folder / bundles.CHECKPOINT),
            sum(parameter.numel() for parameter in model.parameters()),
            checkpoint.name if checkpoint else _DEFAULT_CHECKPOINT,
        ),
        tracker=TrackerSpec(),
        graphs=graphs,
        tools={"mvt-deploy": __version__, **{t.__name__: str(t.__version__).lstrip("v") for t in _TOOLS}},
    )
    bundles.write_manifest(folder, manifest)
    return Bundle(folder, manifest)


def _export_precision(
    model: MVT,
    precision: str,
    side: int,
    folder: Path,
    rewrites: Collection[str],
    batches: list[Batch],
    progress: Progress,
) -> list[GraphInfo]:
    """Write, measure and describe the search graphs of one precision and side, and its template graph if need be."""
    infos: list[GraphInfo] = []
    template = folder / graph_file("template", precision)
    for target in TARGETS[precision]:
        graphs = split(model, side)
        applied = apply(graphs, [name for name in TARGET_REWRITES[target] if name in rewrites])
        cast(graphs, DTYPES[precision])
        search = folder / graph_file("search", precision, target, side)
        metadata = {"precision": precision, "target": target}
        inputs = example_inputs(*graphs)
        written: list[tuple[Graph, Path, onnx.ModelProto]] = []
        if not template.exists():  # the template graph is the same for every target and side
            progress.message(f"exporting {template.name}")
            written.append((graphs.template, template, to_onnx(graphs.template, inputs[0], template, metadata)))
        progress.message(f"exporting {search.name}")
        written.append((graphs.search, search, to_onnx(graphs.search, inputs[1], search, metadata)))
        progress.message(f"comparing {search.name} with PyTorch")
        parity = measure(runner(template), runner(search), batches, precision)
        infos += [
            GraphInfo(
                file=path.name,
                sha256=sha256(path),
                role=graph.role,
                precision=precision,
                target=target,
                opset=OPSET,
                inputs=tensors(proto.graph.input),
                outputs=tensors(proto.graph.output),
                rewrites=list(applied),
                parity=parity,
            )
            for graph, path, proto in written
        ]
    return infos


def _now() -> datetime:
    """The time that goes into the manifest: ``SOURCE_DATE_EPOCH`` where a reproducible build sets it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(epoch), timezone.utc) if epoch else datetime.now(timezone.utc)
