"""``mvt-deploy sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import bundle
from .options import Model, Threads, ensure_model, say


def sensitivity(
    model: Model = bundle.DEFAULT,
    target: Annotated[str, typer.Option("--target", help="Whose int8: ort, openvino or tensorrt.")] = "ort",
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="A set from calibrate; default: the shipped one.")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="Of activation ranges: percentile, minmax, entropy.")] = (
        "percentile"
    ),
    pairs: Annotated[int, typer.Option("--pairs", min=4, help="Crops of the set to compare answers on.")] = 24,
    threads: Threads = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Keeps finished layers; default: runs/sensitivity-TARGET.json"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON instead of a table.")] = False,
) -> None:
    """Rank layers by the error each adds when it alone is int8; run again to resume."""
    from rich.console import Console

    from ..quantize.placement import candidates
    from ..quantize.qdq import quantise
    from ..quantize.sensitivity import Probe, rank
    from ..quantize.sources import open_source
    from .bars import count_bar
    from .tables import ranking_json, ranking_table

    ensure_model(model)
    source = open_source(bundle.open_bundle(model), target, calibration, method, say)
    chosen = source.crops(pairs)
    probe = Probe(source.template, source.model, chosen, fuse_qdq=target != "tensorrt", threads=threads)
    state = output or Path("runs") / f"sensitivity-{target}.json"
    with count_bar("layers") as tick:
        ranking = rank(
            probe, source.model, source.ranges, target, candidates, quantise, state, f"{source.data} {pairs}", tick
        )
    if json:
        print(ranking_json(ranking))
    else:
        Console().print(ranking_table(ranking, target, len(chosen.template)))
