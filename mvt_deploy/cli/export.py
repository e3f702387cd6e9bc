"""``mvt-deploy export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..bundle import DEFAULT, RUNTIMES
from .options import say


def export(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="A .safetensors or .pth.tar file; default: the checkpoint that ships with mvt-deploy."),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the bundle.")] = DEFAULT,
    without: Annotated[
        list[str],
        typer.Option("--without", help="Name of an exact rewrite to leave out; repeatable.", show_default=False),
    ] = [],  # noqa: B006 (typer copies it)
    search_size: Annotated[
        list[int],
        typer.Option(
            "--search-size",
            help="Side in pixels of search crops to add graphs for, beside 256; repeatable. A multiple of 32, "
            "such as 192, 224 or 320.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 (typer copies it)
    fp16: Annotated[bool, typer.Option("--fp16", help="Add fp16 graphs to the fp32 ones.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Add int8 graphs for ONNX Runtime, OpenVINO and TensorRT, and fp16 graphs.")
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", help="Folder of a set from calibrate, or of its cache of ranges; default: the shipped set."
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="How int8 activation ranges are chosen: percentile, minmax or entropy.")
    ] = "percentile",
    runtimes: Annotated[
        list[str],
        typer.Option(
            "--for",
            help="Runtime that the bundle is for: ort, openvino, tensorrt, or portable (any other); repeatable. Only "
            "the graphs it reads are kept, and no checkpoint. Default: everything is kept.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 (typer copies it)
    gate: Annotated[
        bool,
        typer.Option("--gate/--no-gate", help="Judge graphs below fp32 by their trajectories over short clips."),
    ] = True,
    max_ao_drop: Annotated[
        float | None,
        typer.Option(
            "--max-ao-drop",
            min=0,
            max=1,
            help="Largest drop of AO of an int8 graph (0 to 1). The layers that cost most stay in floating point until "
            "the drop is within it.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write graphs although the gate refuses them.")] = False,
) -> None:
    """Export a checkpoint as a bundle of checked ONNX graphs; prints the bundle's folder."""
    from ..errors import UserError
    from ..evaluation.gate.judge import Judge
    from ..export.rewrites import REWRITES
    from ..quantize.build import build_bundle
    from ..quantize.source import Int8Options
    from .bars import Bars
    from .tables import export_lines

    if unknown := [name for name in without if name not in REWRITES]:
        raise UserError(f"there is no rewrite '{unknown[0]}': choose from {', '.join(REWRITES)}.")
    if missing := [name for name in runtimes if name not in RUNTIMES]:
        raise UserError(f"there is no runtime '{missing[0]}': choose --for from {', '.join(RUNTIMES)}.")
    if max_ao_drop is not None and not (int8 and gate):
        raise UserError("--max-ao-drop is a limit of the int8 graphs' gate: add --int8, and leave --no-gate out.")
    options = Int8Options(calibration, method, max_ao_drop=max_ao_drop, state=Path("runs/sensitivity"))
    with Bars() as bars:
        bundle = build_bundle(
            checkpoint,
            output,
            search_sizes=search_size,
            fp16=fp16,
            int8=options if int8 else None,
            runtimes=runtimes,
            rewrites=[name for name in REWRITES if name not in without],
            judge=Judge(limits={} if max_ao_drop is None else {"int8": max_ao_drop}) if gate else None,
            force=force,
            progress=bars,
        )
    for line in export_lines(bundle):
        say(line)
    print(bundle.folder)
