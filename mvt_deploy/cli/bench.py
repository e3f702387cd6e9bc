"""``mvt-deploy bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import BackendName, Device, Model, Precision, Provider, Threads, ensure_model, say


def bench(
    source: Annotated[
        str | None, typer.Argument(help="A video or folder to measure on; default: a shipped photograph, 1280x720.")
    ] = None,
    model: Model = None,
    backend: BackendName = "ort",
    provider: Provider = "cpu",
    precision: Precision = None,
    threads: Threads = None,
    device: Device = "cpu",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Targets in one frame.")] = 1,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="CANDIDATE",
            help="Such as ort:cpu:fp32:t2:b1 (repeatable, or with commas): measured in turns, with ratios.",
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", help="csrt, kcf, mil, vit=MODEL or nano=BACKBONE,HEAD (repeatable): OpenCV's trackers."),
    ] = None,
    init_box: Annotated[
        str | None, typer.Option("--init-box", help="The target, x,y,w,h in pixels of the source's first frame.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="At least so long for each row.")] = 3.0,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON; - for stdout.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write it as CSV; - for stdout.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write it as Markdown; - for stdout.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the latency distribution (png, svg, pdf).")] = None,
) -> None:
    """Measure what a frame costs here, stage by stage, in turns with the published graph; --compare for several."""
    from ..bench.session import Settings, run
    from ..bench.show import Files, show

    files = Files(json, csv, markdown, plot)
    files.check()
    folder = ensure_model(model)
    report, rows = run(
        Settings(
            model=folder,
            backend=backend,
            provider=provider,
            precision=precision,
            threads=threads,
            device=device,
            batch=batch,
            compare=compare or [],
            peers=peer or [],
            source=source,
            init_box=init_box,
            seconds=seconds,
        ),
        say,
    )
    show(report, rows, files)
