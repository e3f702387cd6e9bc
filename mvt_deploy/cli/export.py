"""``mvt-deploy export``."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..bundle import DEFAULT
from .bars import count_bar
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
    max_ao_drop: Annotated[
        float | None,
        typer.Option("--max-ao-drop", help="Of int8: keep the worst layers in floating point until AO drops no more."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write graphs that the gate refuses.")] = False,
) -> None:
    """Export a checkpoint as a bundle of checked ONNX graphs; prints the bundle's folder."""
    from ..errors import UserError
    from ..evaluation.gate.judge import Judge
    from ..export import export_bundle
    from ..export.rewrites import REWRITES
    from ..quantize.budget import layers_to_keep
    from ..quantize.graphs import Int8
    from .tables import export_lines

    if unknown := [name for name in without if name not in REWRITES]:
        raise UserError(f"there is no rewrite '{unknown[0]}': choose from {', '.join(REWRITES)}.")
    rewrites = [name for name in REWRITES if name not in without]
    how = Int8(calibration, method) if int8 else None
    judge = Judge(limits={} if max_ao_drop is None else {"int8": max_ao_drop}) if gate else None
    if max_ao_drop is not None:
        if how is None or judge is None:
            raise UserError("--max-ao-drop is a budget of the int8 graphs' gate: give --int8, and leave --no-gate out.")
        with tempfile.TemporaryDirectory() as place, count_bar("layers") as tick:
            trial = export_bundle(checkpoint, Path(place) / "mvt", int8=how, rewrites=rewrites, say=say)
            state = Path("runs") / "sensitivity"
            how = replace(how, keep=layers_to_keep(trial, how, judge, state, say=say, tick=tick))
    bundle = export_bundle(
        checkpoint, output, fp16=fp16, int8=how, rewrites=rewrites, judge=judge, force=force, say=say
    )
    for line in export_lines(bundle):
        say(line)
    print(bundle.folder)
