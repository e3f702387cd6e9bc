"""Average checkpoints that were trained from one another, and measure the batch-norm statistics of the average anew.

python benchmarks/average.py DATA CHECKPOINT CHECKPOINT [...] --config RUN/config.json -o AVERAGE.safetensors
"""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from reports import script

from mvt_deploy.cli.options import say
from mvt_deploy.errors import UserError


def main(
    data: Annotated[Path, typer.Argument(help="Folder of training data.")],
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints to average.")],
    config: Annotated[Path, typer.Option(help="Configuration of a run: how pairs are made, and what is held back.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint to write.")],
    batches: Annotated[int, typer.Option(help="Number of batches that the statistics are measured on.", min=1)] = 90,
) -> None:
    """Average checkpoints."""
    from mvt_deploy.network import load_checkpoint, save_checkpoint
    from mvt_deploy.training import discover, from_json
    from mvt_deploy.training.average import average
    from mvt_deploy.training.config import Teacher
    from mvt_deploy.training.sampler import batches as make_batches

    if len(checkpoints) < 2:
        raise UserError("give at least two checkpoints.")
    settings = from_json(config.read_text(encoding="utf-8"))
    mix = dataclasses.replace(settings.mix, clips=1.0, paste=0.0, scene=0.0, absent=0.0)
    settings = dataclasses.replace(settings, mix=mix, teacher=Teacher(), seed=999, workers=0)
    pairs = make_batches(discover(data, settings.hold_out), settings, 0)
    say(f"averaging {len(checkpoints)} checkpoints over {batches} batches of {settings.batch} pairs from tracks")
    model = average([load_checkpoint(path) for path in checkpoints], islice(pairs, batches))
    save_checkpoint(model, output)


if __name__ == "__main__":
    script(main)
