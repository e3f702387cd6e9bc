"""``mvt-deploy export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..bundle import DEFAULT
from .options import say


def export(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A .safetensors or .pth.tar file; default: the checkpoint that ships.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle's folder.")] = DEFAULT,
    without: Annotated[
        list[str],
        typer.Option("--without", help="Leave out an exact rewrite by its name (repeatable).", show_default=False),
    ] = [],  # noqa: B006 (typer copies it)
    fp16: Annotated[bool, typer.Option("--fp16", help="Add fp16 graphs beside the fp32 ones.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Add int8 graphs for ONNX Runtime, OpenVINO, TensorRT.")] = False,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="A set from calibrate, or its cache; default: the shipped one.")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="Of activation ranges: percentile, minmax, entropy.")] = (
        "percentile"
    ),
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="Judge graphs below fp32 by their trajectories on short clips.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Write graphs that the gate refuses.")] = False,
) -> None:
    """Export a checkpoint as a bundle of checked ONNX graphs; prints the bundle's folder."""
    from ..export import export_bundle
    from ..export.int8.graphs import Int8
    from ..export.rewrites import REWRITES
    from ..fidelity.judge import Judge

    rewrites = [name for name in REWRITES if name not in without]
    how = Int8(calibration, method) if int8 else None
    judge = Judge() if gate else None
    bundle = export_bundle(
        checkpoint, output, fp16=fp16, int8=how, rewrites=rewrites, judge=judge, force=force, say=say
    )
    for graph in bundle.manifest.graphs:
        if graph.role == "template" and graph.precision == "int8":
            continue  # a floating-point file listed again
        size = (bundle.folder / graph.file).stat().st_size / 1e6
        parity = graph.parity
        say(
            f"  {graph.file:<25} {size:5.1f} MB   differs from PyTorch by {parity.max_abs:.1e} at most "
            f"({parity.box_px:.3f} px) on {parity.cases} crops"
        )
    for verdict in bundle.manifest.gates:
        say(
            f"  {verdict.candidate:<25} {'passes' if verdict.passed else 'FAILS'}: {verdict.reason}; trajectories "
            f"overlap fp32's by {verdict.mean_iou:.3f} over {verdict.clips} clips"
        )
    print(bundle.folder)
