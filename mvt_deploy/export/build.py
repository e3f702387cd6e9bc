"""The export as a whole: load, split, convert, measure, and write the bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import onnx
import onnxruntime
import onnxscript
import onnxsim
import torch

from .. import bundle as bundles
from ..assets import asset
from ..bundle import Bundle, CheckpointInfo, GraphInfo, Manifest, TrackerSpec, open_bundle, sha256
from ..network import MVT, load_checkpoint, save_checkpoint
from ..version import __version__
from .graphs import split
from .parity import Array, Runner, measure, photograph_pairs, reference
from .to_onnx import OPSET, example_inputs, tensors, to_onnx

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
_TOOLS = (torch, onnx, onnxscript, onnxsim, onnxruntime)

Say = Callable[[str], None]


def _silent(_message: str) -> None:
    pass


def export_bundle(
    checkpoint: Path | None = None, folder: Path = bundles.DEFAULT, *, fp16: bool = False, say: Say = _silent
) -> Bundle:
    """Export a checkpoint as a bundle: fp32 graphs always, fp16 graphs beside them on request.

    Every graph is run in ONNX Runtime on crops of real photographs and compared with the PyTorch network.

    Args:
        checkpoint: ``.safetensors`` or ``.pth.tar``; None is the default checkpoint that travels with the package.
        folder: the bundle's place; an earlier bundle there is replaced, anything else is refused.
        fp16: add fp16 graphs.
        say: told what is being done, a line at a time.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not fit the network.
        ParityError: a graph differs from the network by more than its tolerance; nothing is written.
        BundleError: the folder cannot be written or is no bundle.
    """
    source = checkpoint or asset("mvt.safetensors")
    model = load_checkpoint(source)
    with bundles.staging(folder) as place:
        save_checkpoint(model, place / bundles.CHECKPOINT, {"source": source.name})
        graphs = [
            graph
            for precision in ("fp32", "fp16")[: 1 + fp16]
            for graph in _export_precision(model, precision, place, say)
        ]
        parameters = sum(p.numel() for p in model.parameters())
        bundles.write_manifest(
            place,
            Manifest(
                format=bundles.FORMAT,
                name=folder.name,
                created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                checkpoint=CheckpointInfo(
                    bundles.CHECKPOINT, sha256(place / bundles.CHECKPOINT), parameters, source.name
                ),
                tracker=TrackerSpec(),
                graphs=graphs,
                tools={"mvt-deploy": __version__, **{t.__name__: str(t.__version__).lstrip("v") for t in _TOOLS}},
            ),
        )
    return open_bundle(folder)


def _export_precision(model: MVT, precision: str, place: Path, say: Say) -> list[GraphInfo]:
    pair = split(model, DTYPES[precision])
    files, protos = [], []
    for graph, inputs in zip(pair, example_inputs(*pair), strict=True):
        file = f"{graph.role}.onnx" if precision == "fp32" else f"{graph.role}.{precision}.onnx"
        say(f"exporting {file}")
        protos.append(to_onnx(graph, inputs, place / file))
        files.append(file)
    say(f"measuring {precision} against PyTorch")
    pairs = photograph_pairs()
    parity = measure(*(_runner(place / f) for f in files), pairs, reference(model, pairs), precision)
    return [
        GraphInfo(
            file=file,
            sha256=sha256(place / file),
            role=graph.role,
            precision=precision,
            target="portable",
            opset=OPSET,
            inputs=tensors(proto.graph.input),
            outputs=tensors(proto.graph.output),
            rewrites=[],
            parity=parity,
        )
        for graph, file, proto in zip(pair, files, protos, strict=True)
    ]


def _runner(path: Path) -> Runner:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run


def ensure_bundle(folder: Path = bundles.DEFAULT) -> Path:
    """The folder, after exporting the default checkpoint into it if it holds no bundle yet (said on stderr)."""
    if not bundles.exists(folder):
        print(f"no bundle at {folder} yet: exporting the default checkpoint once", file=sys.stderr)
        export_bundle(None, folder)
    return folder
