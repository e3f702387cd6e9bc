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
) -> None:
    """Export a checkpoint as a bundle of checked ONNX graphs; prints the bundle's folder."""
    from ..export import export_bundle
    from ..export.int8.graphs import Int8
    from ..export.rewrites import REWRITES

    rewrites = [name for name in REWRITES if name not in without]
    how = Int8(calibration, method) if int8 else None
    bundle = export_bundle(checkpoint, output, fp16=fp16, int8=how, rewrites=rewrites, say=say)
    for graph in bundle.manifest.graphs:
        size = (bundle.folder / graph.file).stat().st_size / 1e6
        parity = graph.parity
        say(
            f"  {graph.file:<22} {size:5.1f} MB   differs from PyTorch by {parity.max_abs:.1e} at most "
            f"({parity.box_px:.3f} px) on {parity.cases} crops"
        )
    print(bundle.folder)
