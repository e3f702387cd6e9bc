"""``mvt-deploy train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[
        Path, typer.Option("--data", help="Folder with GOT-10k sequences, tracks (tracks.json) and photographs.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the run: configuration, log, weights, state to resume.")
    ] = Path("runs/mvt"),
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="Budget of computing time in minutes; uses a smaller recipe whose resolution rises half-way. "
            "From random weights, give at least 75 on two CPU cores.",
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", help="Checkpoint to start from. Default: random weights.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A run's config.json. Default: the published recipe.")
    ] = None,
    hold_out: Annotated[
        list[str],
        typer.Option(
            "--hold-out",
            help="Name or pattern of tracks to validate on and not to train on (repeatable).",
            show_default=False,
        ),
    ] = [],  # noqa: B006 (typer copies it)
    batch: Annotated[int | None, typer.Option("--batch", help="Pairs per optimiser step.")] = None,
    accumulate: Annotated[
        int | None, typer.Option("--accumulate", help="Number of passes that a batch is split into, to save memory.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Number of processes that make pairs.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the initial weights and of the pairs.")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    stop_after: Annotated[
        float | None,
        typer.Option("--stop-after", help="Save the state and stop after this many minutes; continue with --resume."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="cpu, cuda, cuda:1 …, or auto: a GPU where there is one.")
    ] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --output exactly where its last saved state is.")
    ] = False,
) -> None:
    """Train the network and print the path of the averaged weights."""
    from .options import say
    from .training import configure, follow

    options = {
        "batch": batch,
        "accumulate": accumulate,
        "workers": workers,
        "lr": lr,
        "seed": seed,
        "compile": compile or None,
    }
    chosen = None if resume else configure(config, minutes, tuple(hold_out), options)
    weights = follow(data, output, chosen, start, device, resume, stop_after)
    if weights is None:
        say(f"stopped after {stop_after:g} minutes; continue with: mvt-deploy train --data {data} -o {output} --resume")
    else:
        print(weights)
