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
    fp16: Annotated[bool, typer.Option("--fp16", help="Add fp16 graphs beside the fp32 ones.")] = False,
) -> None:
    """Export a checkpoint as a bundle of checked ONNX graphs; prints the bundle's folder."""
    from ..export import export_bundle

    bundle = export_bundle(checkpoint, output, fp16=fp16, say=say)
    for graph in bundle.manifest.graphs:
        size = (bundle.folder / graph.file).stat().st_size / 1e6
        parity = graph.parity
        say(
            f"  {graph.file:<22} {size:5.1f} MB   differs from PyTorch by {parity.max_abs:.1e} at most "
            f"({parity.box_px:.3f} px) on {parity.cases} crops"
        )
    print(bundle.folder)
