"""``mvt-deploy sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import bundle
from .options import Model, Threads, ensure_model


def sensitivity(
    model: Model = None,
    target: Annotated[
        str, typer.Option("--target", help="Runtime that the int8 graph is made for: ort, openvino or tensorrt.")
    ] = "ort",
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", help="Folder of a set from calibrate; default: the shipped set."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="How int8 activation ranges are chosen: percentile, minmax or entropy.")
    ] = "percentile",
    pairs: Annotated[int, typer.Option("--pairs", min=4, help="Number of the set's pairs to compare answers on.")] = 24,
    threads: Threads = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File that keeps finished layers; default: runs/sensitivity-TARGET.json"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON instead of a table.")] = False,
) -> None:
    """Rank layers by the error each adds when it alone is int8; an interrupted run is resumed by the same command."""
    from rich.console import Console

    from ..quantize.placement import rule
    from ..quantize.sensitivity import Probe, rank
    from ..quantize.source import Int8Options, open_quantization_source
    from .bars import Bars
    from .tables import ranking_json, ranking_table

    folder = ensure_model(model)
    with Bars() as bars:
        store = Int8Options(calibration, method).open_store(bars)
        source = open_quantization_source(bundle.open_bundle(folder), target, method, store)
        crops = source.crops(pairs)
        probe = Probe(source.template_file, source.model, crops, fuse_qdq=rule(target).fuse_qdq, threads=threads)
        state = output or Path("runs") / f"sensitivity-{target}.json"
        key = f"{source.calibration.data} {pairs}"
        ranking = rank(probe, source.model, source.ranges, target, state=state, key=key, progress=bars)
    if json:
        print(ranking_json(ranking))
    else:
        Console().print(ranking_table(ranking, target, len(crops.template)))
