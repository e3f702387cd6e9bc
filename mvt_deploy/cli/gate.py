"""``mvt-deploy gate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..bundle import DEFAULT
from .options import BackendName, Device, Model, Provider, Threads, open_model


def gate(
    clips: Annotated[
        Path | None, typer.Argument(help="A benchmark's folder or a folder of clips; default: short rendered clips.")
    ] = None,
    model: Model = DEFAULT,
    backend: BackendName = "ort",
    provider: Provider = "cpu",
    precision: Annotated[str, typer.Option("--precision", help="What is judged: fp16, int8 or bf16.")] = "fp16",
    device: Device = "cpu",
    threads: Threads = None,
    limit: Annotated[
        float | None, typer.Option("--limit", help="Largest drop of AO that passes; default: the precision's own.")
    ] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=2, help="At most so many frames of each clip.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON instead of a table.")] = False,
) -> None:
    """Judge a precision by its trajectories against fp32 (ort, cpu); exits with 1 where it does not pass."""
    from rich.console import Console

    from ..errors import UserError
    from ..evaluation.datasets import open_dataset
    from ..evaluation.gate.clips import FRAMES, from_dataset, rendered
    from ..evaluation.gate.compare import compare
    from .bars import Bars
    from .tables import gate_json, gate_table

    if limit is not None and not 0 <= limit <= 1:
        raise UserError(f"--limit is a drop of AO, 0 to 1, not {limit}.")
    chosen = rendered(frames or FRAMES) if clips is None else from_dataset(open_dataset(clips), frames)
    reference = open_model(model, "ort", threads=threads)
    candidate = open_model(model, backend, provider, precision, threads, device)
    with Bars() as bars, bars.task("frames", 3 * sum(clip.count for clip in chosen)) as frames_done:
        verdict = compare(reference, candidate, chosen, limit, precision=precision, tick=frames_done.advance)
    if json:
        print(gate_json(verdict))
    else:
        Console().print(gate_table(verdict))
    if not verdict.passed:
        raise typer.Exit(1)
