"""``mvt-deploy train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[
        Path, typer.Option("--data", help="Folder with GOT-10k sequences, tracks (tracks.json) and photographs.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")] = Path("runs/mvt"),
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="A budget of computing time: a smaller recipe with a curriculum that fits it."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", help="Checkpoint to start from; default: random weights.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A run's config.json; default: the published recipe.")
    ] = None,
    hold_out: Annotated[
        list[str],
        typer.Option("--hold-out", help="Clips by name or pattern to validate on (repeatable).", show_default=False),
    ] = [],  # noqa: B006 (typer copies it)
    batch: Annotated[int | None, typer.Option("--batch", help="Pairs per optimiser step.")] = None,
    accumulate: Annotated[int | None, typer.Option("--accumulate", help="Passes a batch is split into.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that make pairs.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of weights and pairs.")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU where there is one.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, exactly.")] = False,
) -> None:
    """Train the network; prints the path of the averaged weights."""
    from .training import configure, follow

    options = {"batch": batch, "accumulate": accumulate, "workers": workers, "lr": lr, "seed": seed}
    chosen = None if resume else configure(config, minutes, tuple(hold_out), options)
    print(follow(data, output, chosen, start, device, resume))
