"""``mvt-deploy track``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..progress import SILENT
from ..tracker import LostPolicy, Tracker
from . import logs
from .bars import Bars
from .options import BackendName, Device, Model, Precision, Provider, Threads, open_model, parse_search_size, say

_DEFAULTS = LostPolicy()


def track(
    source: Annotated[
        str,
        typer.Argument(
            help="A video, image or folder of images; a pattern (frames/*.png, frames/%05d.png); "
            "a camera's number; a stream's URL."
        ),
    ],
    model: Model = None,
    backend: BackendName = "ort",
    provider: Provider = "cpu",
    precision: Precision = None,
    threads: Threads = None,
    device: Device = "cpu",
    search_size: Annotated[
        str | None,
        typer.Option(
            "--search-size",
            "--search",
            metavar="N|auto",
            help="Side of the search crops in pixels, one of those the bundle holds; or auto: the smallest for a "
            "target that is followed well and moves little, the largest for an unsure or lost one. Default: 256.",
        ),
    ] = None,
    init_box: Annotated[
        list[str] | None,
        typer.Option("--init-box", help="Target as x,y,w,h in pixels of the first frame; repeat it for several."),
    ] = None,
    select: Annotated[bool, typer.Option("--select", help="Draw the targets with the mouse.")] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="Follow what moves most in the first second, if nothing else is given.")
    ] = False,
    show_grid: Annotated[
        bool, typer.Option("--show-grid", help="Write <name>.grid.png, the first frame with a grid of pixels; no more.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Annotated video (.mp4, .webm, .gif …); default: <name>.tracked.mp4 here."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="File of the boxes, one line x,y,w,h per frame; <name>_time.txt beside."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per frame on standard output.")] = False,
    no_video: Annotated[bool, typer.Option("--no-video", help="Write no annotated video.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Watch in a window.")] = False,
    reconnect: Annotated[
        bool, typer.Option("--reconnect", help="Open a camera or stream that went away again, for as long as it takes.")
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="[HOST:]PORT", help="Serve /metrics (Prometheus) and /healthz there."),
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Write messages on stderr as JSON lines.")] = False,
    lost: Annotated[
        bool, typer.Option(help="Report when a target is lost; --no-lost is the published behaviour.")
    ] = True,
    lost_below: Annotated[float, typer.Option(help="Score below which a frame is low, 0..1.")] = _DEFAULTS.threshold,
    lost_after: Annotated[
        int, typer.Option(help="Number of low frames in a row after which a target is lost.")
    ] = _DEFAULTS.patience,
    found_at: Annotated[
        float, typer.Option(help="Score at which a lost target is found again, 0..1.")
    ] = _DEFAULTS.found,
) -> None:
    """Follow targets through a video: writes the annotated video, and results if asked for."""
    from ..video.session import Outputs, track_source
    from ..video.sources import open_source
    from ..video.targets import choose_targets, write_grid

    logs.use(log_json)
    policy = LostPolicy(threshold=lost_below, patience=lost_after, found=found_at) if lost else None
    side = parse_search_size(search_size)
    opened = open_source(source, reconnect)
    if show_grid:
        say("read x,y,w,h from the grid and give them with --init-box")
        return print(write_grid(opened, Path(f"{opened.name}.grid.png")))
    video = None if no_video else output or Path(f"{opened.name}.tracked.mp4")
    outputs = Outputs(video, results, json, show, metrics)
    targets = choose_targets(opened, init_box or [], select, auto)
    say(f"target: {targets.how}")
    tracker = Tracker(open_model(model, backend, provider, precision, threads, device, side), lost=policy)
    with Bars() as bars:
        summary = track_source(opened, targets, tracker, outputs, progress=SILENT if log_json else bars)
    first, *rest = summary.lines()
    say(first, **summary.figures())
    for line in rest:
        say(line)
    if summary.outcome.problem:
        raise summary.outcome.problem
