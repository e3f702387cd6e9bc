"""The published recipe on a GPU, in sessions: pack the data here, train there for some minutes, continue exactly.

python benchmarks/train_gpu.py pack DATA PIECES          # files of at most 60 MB
python benchmarks/train_gpu.py train PIECES RUN          # ten minutes; repeat it until it says that the run is done

``train`` unpacks the data beside the pieces, once; continues the run in RUN, if there is one, from its last state; and
stops after some minutes with a saved state. RUN also holds the run in pieces, so that the state travels like the data:
bring the folder back, and a later session on another machine continues from it. The batches of a continued run are
those of a run that was never stopped.

The recipe is 100 epochs of 60 000 pairs, batch 128, AdamW at 4e-4, with bfloat16 and torch.compile. The pairs are drawn
as for the project's own weights: data sets balanced, 8 % of the pairs without their target.

Verified on a CPU only: packing, sessions, exact continuation. No GPU was at hand to measure the speed.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from mvt_deploy.cli.options import say
from mvt_deploy.cli.training import follow
from mvt_deploy.errors import UserError
from mvt_deploy.training import TrainConfig
from mvt_deploy.training.config import LossWeights, Mix, Teacher, Windows
from mvt_deploy.training.pieces import pack as pack_folder
from mvt_deploy.training.pieces import unpack

app = typer.Typer(add_completion=False, help=__doc__)
DATA, STATE, DONE = "data", "pieces", "done"


@app.command()
def pack(
    data: Annotated[Path, typer.Argument(help="Folder of training data.")],
    pieces: Annotated[Path, typer.Argument(help="Folder for the pieces.")],
    megabytes: Annotated[float, typer.Option(help="Largest size of a piece, in megabytes.")] = 60.0,
) -> None:
    """Pack the training data into pieces."""
    say(f"{len(pack_folder(data, pieces, megabytes))} pieces in {pieces}")


@app.command()
def train(
    pieces: Annotated[Path, typer.Argument(help="Folder of the data's pieces.")],
    run: Annotated[Path, typer.Argument(help="Folder of the run; it is continued if it exists.")],
    minutes: Annotated[float, typer.Option(help="Minutes of this session; the rest of its limit is for saving.")] = 8.0,
    start: Annotated[Path | None, typer.Option(help="Checkpoint to start from. Default: random weights.")] = None,
    teacher: Annotated[str, typer.Option(help="ONNX file of a backbone to distil features from.")] = "",
    held_back: Annotated[
        Path | None, typer.Option(help="Text file with one pattern of tracks to validate on per line.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of 60 000 pairs of the whole run.")] = 100,
    batch: Annotated[int, typer.Option(help="Pairs per optimiser step.")] = 128,
    workers: Annotated[int | None, typer.Option(help="Processes that make pairs. Default: one per core.")] = None,
    compile: Annotated[bool, typer.Option(help="Compile the network.")] = True,
    device: Annotated[str, typer.Option(help="cuda, cuda:1 … or cpu.")] = "cuda",
    megabytes: Annotated[float, typer.Option(help="Largest size of a piece of the state, in megabytes.")] = 60.0,
) -> None:
    """Train for one session."""
    data = pieces.parent / f"{pieces.name}-{DATA}"
    if not data.is_dir():
        say(f"unpacking {pieces}")
        unpack(pieces, data)
    place = run / "run"
    if not place.is_dir() and (run / STATE).is_dir():
        unpack(run / STATE, place)
    resume = place.is_dir()
    patterns = tuple(held_back.read_text(encoding="utf-8").split()) if held_back else ()
    config = TrainConfig(
        epochs=epochs,
        batch=batch,
        windows=Windows(calm=0.4),
        mix=Mix(clips=0.5, paste=0.3, scene=0.2, balance=0.5, absent=0.08),
        loss=LossWeights(neighbours=True),
        teacher=Teacher(teacher, 3.0),
        backbone_factor=1.0 if teacher else 0.1,
        workers=workers if workers is not None else max(1, len(os.sched_getaffinity(0)) - 1),
        compile=compile,
        hold_out=patterns,
        validate_minutes=20.0,
    )
    config = dataclasses.replace(config, pairs_per_epoch=max(60_000, batch))
    weights = follow(data, place, None if resume else config, start, device, resume, stop_after=minutes)
    pack_folder(place, run / STATE, megabytes)
    say("the run is not done: run the same command again" if weights is None else f"done: {weights}")


if __name__ == "__main__":
    try:
        app()
    except UserError as error:
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from error
