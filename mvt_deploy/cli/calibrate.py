"""``mvt-deploy calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import bundle
from .bars import clip_bar
from .options import Model, Threads, open_model, say


def calibrate(
    sources: Annotated[list[str], typer.Argument(help="Clips: video files, or folders of images.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The calibration set's folder.")] = Path(
        "calibration/own"
    ),
    init_box: Annotated[
        list[str] | None,
        typer.Option("--init-box", help="x,y,w,h in the first frame, one a clip in order; else as track chooses."),
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=16, max=4096, help="Crops to record.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the jitter.")] = 0,
    model: Model = bundle.DEFAULT,
    threads: Threads = None,
) -> None:
    """Record template and search crops along real trajectories, for int8; prints the set's folder."""
    from ..errors import UserError
    from ..quantize.calibration_set import require_place, write_crops
    from ..quantize.record import Target, record
    from ..video.sources import open_source
    from ..video.targets import choose_targets

    boxes = init_box or []
    if boxes and len(boxes) != len(sources):
        raise UserError(f"{len(boxes)} boxes for {len(sources)} clips: give one --init-box a clip, or none.")
    require_place(output)
    targets = []
    for number, name in enumerate(sources):
        source = open_source(name)
        if source.live:
            raise UserError(f"'{name}' is live: record it to a file first, then calibrate on the file.")
        found = choose_targets(source, boxes[number : number + 1])
        say(f"{source.name}: target {found.how}")
        targets.append(Target(source, found.boxes[0]))
    with clip_bar({target.source.name: target.source.count for target in targets}) as watch:
        recordings = record(open_model(model, "ort", threads=threads), targets, pairs, seed, watch)
    write_crops(output, recordings)
    say(f"{len(recordings)} pairs recorded: use them with  mvt-deploy export --int8 --calibration {output}")
    print(output)
