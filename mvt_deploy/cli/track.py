"""``mvt-deploy track``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import bundle
from ..tracker import LostPolicy, Tracker
from . import logs
from .options import BackendName, Device, Model, Precision, Provider, Threads, open_model, say

_DEFAULTS = LostPolicy()


def track(
    source: Annotated[str, typer.Argument(help="A video file, folder of images, glob, camera index or stream URL.")],
    model: Model = bundle.DEFAULT,
    backend: BackendName = "ort",
    provider: Provider = "cpu",
    precision: Precision = None,
    threads: Threads = None,
    device: Device = "cpu",
    init_box: Annotated[
        list[str] | None, typer.Option("--init-box", help="x,y,w,h in pixels of the first frame (repeatable).")
    ] = None,
    select: Annotated[bool, typer.Option("--select", help="Draw the targets with the mouse.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The annotated video; default: <name>.tracked.mp4 here.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Boxes as x,y,w,h lines, with <name>_time.txt beside.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a frame on stdout.")] = False,
    no_video: Annotated[bool, typer.Option("--no-video", help="Write no annotated video.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Watch in a window.")] = False,
    reconnect: Annotated[
        bool, typer.Option("--reconnect", help="Open a camera or stream that went away again, for as long as it takes.")
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="[HOST:]PORT", help="Serve /metrics (Prometheus) and /healthz here."),
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Messages on stderr as JSON lines.")] = False,
    lost: Annotated[bool, typer.Option(help="Say when a target is lost; --no-lost is the published behaviour.")] = True,
    lost_below: Annotated[float, typer.Option(help="A score below this is low.")] = _DEFAULTS.threshold,
    lost_after: Annotated[int, typer.Option(help="So many low frames in a row mean lost.")] = _DEFAULTS.patience,
    found_at: Annotated[float, typer.Option(help="A lost target is found again at this score.")] = _DEFAULTS.found,
) -> None:
    """Follow targets through a video: writes the annotated video, and results if asked for."""
    from ..video.session import Outputs, track_source
    from ..video.sources import open_source
    from ..video.targets import choose_targets

    logs.use(log_json)
    policy = LostPolicy(threshold=lost_below, patience=lost_after, found=found_at) if lost else None
    opened = open_source(source, reconnect)
    targets = choose_targets(opened, init_box or [], select)
    say(f"target: {targets.how}")
    tracker = Tracker(open_model(model, backend, provider, precision, threads, device), lost=policy)
    video = None if no_video else output or Path(f"{opened.name}.tracked.mp4")
    outputs = Outputs(video, results, json, show, metrics, progress=not log_json)
    summary = track_source(opened, targets, tracker, outputs)
    first, *rest = summary.lines()
    say(first, **summary.figures())
    for line in rest:
        say(line)
    if summary.outcome.problem:
        raise summary.outcome.problem
