"""The export as a whole: load, split, convert, measure, and write the bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import onnx
import onnxruntime
import onnxscript
import onnxsim
import torch

from .. import bundle as bundles
from ..assets import asset
from ..bundle import Bundle, CheckpointInfo, Gate, GraphInfo, Manifest, TrackerSpec, open_bundle
from ..crops import CropPairs, photograph_pairs
from ..errors import ParityError
from ..files import sha256
from ..network import MVT, load_checkpoint, save_checkpoint
from ..quantize.graphs import Int8, int8_graphs
from ..version import __version__
from .graphs import Graph, cast, split
from .parity import Answer, measure, reference
from .rewrites import ORT, PORTABLE, REWRITES, apply
from .session import runner
from .to_onnx import OPSET, example_inputs, tensors, to_onnx

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
TARGETS = {"fp32": ("portable", "ort"), "fp16": ("portable",)}
"""For which runtimes a precision has a search graph of its own: ``ort`` uses ONNX Runtime's own operators."""
TARGET_REWRITES = {"portable": PORTABLE, "ort": ORT}
_TOOLS = (torch, onnx, onnxscript, onnxsim, onnxruntime)

Say = Callable[[str], None]
Judge = Callable[[Path, str, str], Gate | None]
"""Judges the graphs in a folder by precision and target, where it can: see :mod:`mvt_deploy.evaluation.gate`."""


def _silent(_message: str) -> None:
    pass


def export_bundle(
    checkpoint: Path | None = None,
    folder: Path = bundles.DEFAULT,
    *,
    fp16: bool = False,
    int8: Int8 | None = None,
    rewrites: Collection[str] = tuple(REWRITES),
    judge: Judge | None = None,
    force: bool = False,
    say: Say = _silent,
) -> Bundle:
    """Export a checkpoint as a bundle: fp32 graphs always, fp16 graphs beside them on request.

    Every graph is run in ONNX Runtime on crops of real photographs and compared with the PyTorch network; graphs below
    fp32 are judged by their trajectories too, if a judge is given.

    Args:
        checkpoint: ``.safetensors`` or ``.pth.tar``; None is the default checkpoint that travels with the package.
        folder: the bundle's place; an earlier bundle there is replaced, anything else is refused.
        fp16: add fp16 graphs.
        int8: add int8 graphs, made so; TensorRT's is made from the fp16 graphs, which are added with it.
        rewrites: names of the exact rewrites to apply (see :mod:`.rewrites`); all of them by default.
        judge: asked about every search graph below fp32; its verdicts go into the manifest.
        force: write the bundle although a verdict is against it.
        say: told what is being done, a line at a time.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not fit the network.
        CalibrationError: the calibration set or its cache cannot be used.
        ParityError: a graph differs from the network by more than its tolerance, or fails the judge; nothing is
            written.
        BundleError: the folder cannot be written or is no bundle.
    """
    store = int8.store(say) if int8 else None  # before the long part: its mistakes are the user's
    source = checkpoint or asset("mvt.safetensors")
    model = load_checkpoint(source)
    with bundles.staging(folder) as place:
        save_checkpoint(model, place / bundles.CHECKPOINT, {"source": source.name})
        pairs = photograph_pairs()
        answers = reference(model, pairs)
        graphs: list[GraphInfo] = []
        for precision in ("fp32", *(["fp16"] if fp16 or int8 else [])):
            graphs += _export_precision(model, precision, place, rewrites, pairs, answers, say)
        digest = sha256(place / bundles.CHECKPOINT)
        if int8 and store:
            graphs += int8_graphs(place, graphs, int8, store, place / bundles.CHECKPOINT, pairs, answers, say)
        parameters = sum(p.numel() for p in model.parameters())
        manifest = Manifest(
            format=bundles.FORMAT,
            name=folder.name,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            checkpoint=CheckpointInfo(bundles.CHECKPOINT, digest, parameters, source.name),
            tracker=TrackerSpec(),
            graphs=graphs,
            tools={"mvt-deploy": __version__, **{t.__name__: str(t.__version__).lstrip("v") for t in _TOOLS}},
        )
        bundles.write_manifest(place, manifest)
        if judge:
            bundles.write_manifest(place, replace(manifest, gates=_judged(place, graphs, judge, force, say)))
    return open_bundle(folder)


def _judged(place: Path, graphs: list[GraphInfo], judge: Judge, force: bool, say: Say) -> list[Gate]:
    """The verdict on every search graph below fp32."""
    gates = []
    for graph in graphs:
        if graph.role != "search" or graph.precision == "fp32":
            continue
        say(f"judging {graph.file} by its trajectories")
        gate = judge(place, graph.precision, graph.target)
        if gate is None:
            continue
        if not (gate.passed or force):
            raise ParityError(
                f"{graph.file} does not keep the accuracy of fp32 over {gate.clips} clips: {gate.reason}; nothing was "
                f"written. Leave {graph.precision} out, or write it all the same with --force."
            )
        gates.append(gate)
    return gates


def _export_precision(
    model: MVT,
    precision: str,
    place: Path,
    rewrites: Collection[str],
    pairs: CropPairs,
    answers: list[Answer],
    say: Say,
) -> list[GraphInfo]:
    """The template graph and the search graphs of one precision, written, measured and described."""
    made: list[GraphInfo] = []
    template = place / _file("template", precision)
    for target in TARGETS[precision]:
        graphs = split(model)
        applied = apply(graphs, [name for name in TARGET_REWRITES[target] if name in rewrites])
        cast(graphs, DTYPES[precision])
        search = place / _file("search", precision, target)
        inputs = example_inputs(*graphs)
        protos: list[tuple[Graph, Path, onnx.ModelProto]] = []
        if not template.exists():  # the template graph is the same for every target
            say(f"exporting {template.name}")
            protos.append((graphs.template, template, to_onnx(graphs.template, inputs[0], template)))
        say(f"exporting {search.name}")
        protos.append((graphs.search, search, to_onnx(graphs.search, inputs[1], search)))
        say(f"measuring {search.name} against PyTorch")
        parity = measure(runner(template), runner(search), pairs, answers, precision)
        made += [
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
            for graph, path, proto in protos
        ]
    return made


def _file(role: str, precision: str, target: str = "portable") -> str:
    parts = [role, *([precision] if precision != "fp32" else []), *([target] if target != "portable" else []), "onnx"]
    return ".".join(parts)


def ensure_bundle(folder: Path = bundles.DEFAULT) -> Path:
    """The folder, after exporting the default checkpoint into it if it holds no bundle yet (said on stderr)."""
    if not bundles.exists(folder):
        print(f"no bundle at {folder} yet: exporting the default checkpoint once", file=sys.stderr)
        export_bundle(None, folder)
    return folder
