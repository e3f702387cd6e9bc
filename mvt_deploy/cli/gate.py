"""``mvt-deploy gate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import BackendName, Device, Model, Provider, SearchSizeText, Threads, open_model, parse_search_size, say


def gate(
    clips: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of a benchmark or folder of clips; default: short clips rendered from photographs."
        ),
    ] = None,
    model: Model = None,
    backend: BackendName = "ort",
    provider: Provider = "cpu",
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Precision to judge: fp16, int8, bf16 or, at another search size, fp32. Default: fp16, with "
            "--search-size fp32.",
        ),
    ] = None,
    device: Device = "cpu",
    threads: Threads = None,
    search_size: SearchSizeText = None,
    max_ao_drop: Annotated[
        float | None,
        typer.Option(
            "--max-ao-drop",
            help="Largest drop of AO that passes, 0..1; default: that of the precision and the search size.",
        ),
    ] = None,
    limit: Annotated[  # the option's name in 0.1
        float | None, typer.Option("--limit", hidden=True, help="Deprecated: the same as --max-ao-drop.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=2, help="Largest number of frames of each clip; default: all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON instead of a table.")] = False,
) -> None:
    """Judge a precision or a search size by its trajectories against fp32 (ort, cpu) at the default search size.

    Exits with 1 where it does not pass.
    """
    from rich.console import Console

    from ..errors import UserError
    from ..evaluation.datasets import open_dataset
    from ..evaluation.gate.clips import FRAMES, from_dataset, rendered
    from ..evaluation.gate.trajectories import run_gate
    from .bars import Bars
    from .tables import gate_json, gate_table

    if limit is not None and max_ao_drop is None:
        say("--limit is deprecated: use --max-ao-drop.")
        max_ao_drop = limit
    if max_ao_drop is not None and not 0 <= max_ao_drop <= 1:
        raise UserError(f"--max-ao-drop is a drop of AO, 0 to 1, not {max_ao_drop}.")
    chosen = rendered(frames or FRAMES) if clips is None else from_dataset(open_dataset(clips), frames)
    side = parse_search_size(search_size)
    precision = precision or ("fp16" if side is None else "fp32")
    with (
        open_model(model, "ort", threads=threads) as reference,
        open_model(model, backend, provider, precision, threads, device, side) as candidate,
        Bars() as bars,
    ):
        side = None if side == reference.spec.search_size else side
        verdict = run_gate(
            reference, candidate, chosen, max_ao_drop, precision=precision, search_size=side, progress=bars
        )
    if json:
        print(gate_json(verdict))
    else:
        Console().print(gate_table(verdict))
    if not verdict.passed:
        raise typer.Exit(1)
