"""``mvt-deploy calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model, Threads, open_model, say


def calibrate(
    sources: Annotated[list[str], typer.Argument(help="Clips: video files, or folders of images.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the calibration set.")] = Path(
        "calibration/own"
    ),
    init_box: Annotated[
        list[str] | None,
        typer.Option(
            "--init-box",
            help="x,y,w,h of the target in a clip's first frame, in pixels; once per clip, in their order. Default: "
            "the clip's ground truth, or the target that track would choose.",
        ),
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=16, max=4096, help="Number of pairs of crops to record.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the windows that are displaced and rescaled at random.")] = 0,
    model: Model = None,
    threads: Threads = None,
) -> None:
    """Record template and search crops along real trajectories, for int8; prints the set's folder."""
    from ..errors import UserError
    from ..quantize.calibration_set import require_place, write_crops
    from ..quantize.record import ClipTarget, record
    from ..video.sources import open_source
    from ..video.targets import choose_targets
    from .bars import Bars

    boxes = init_box or []
    if boxes and len(boxes) != len(sources):
        raise UserError(f"{len(boxes)} boxes for {len(sources)} clips: give one --init-box per clip, or none.")
    require_place(output)
    targets = []
    for number, name in enumerate(sources):
        source = open_source(name)
        if source.live:
            raise UserError(f"'{name}' is live: record it to a file first, then calibrate on the file.")
        found = choose_targets(source, boxes[number : number + 1], auto=True)
        say(f"{source.name}: target {found.how}")
        targets.append(ClipTarget(source, found.boxes[0]))
    with Bars() as bars:
        recordings = record(open_model(model, "ort", threads=threads), targets, pairs, seed, bars)
    write_crops(output, recordings)
    say(f"{len(recordings)} pairs recorded: use them with  mvt-deploy export --int8 --calibration {output}")
    print(output)
