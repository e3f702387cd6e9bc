"""``mvt-deploy bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .bars import Bars
from .options import (
    BackendName,
    Device,
    Model,
    Precision,
    Provider,
    SearchSizeText,
    Threads,
    ensure_model,
    given,
    parse_search_size,
)

_UNLIMITED = 10_000
"""Characters of a line where the table goes to a file or a pipe: nothing is cut there."""


def bench(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(help="Video or folder of images to measure on. Default: a shipped photograph, 1280x720."),
    ] = None,
    model: Model = None,
    backend: BackendName = "ort",
    provider: Provider = "cpu",
    precision: Precision = None,
    threads: Threads = None,
    device: Device = "cpu",
    search_size: SearchSizeText = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Number of targets in each frame.")] = 1,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="CANDIDATE",
            help="Candidate such as ort:cpu:fp32:t2:b1, ort:int8:s192 or openvino:auto (repeatable, or separated by "
            "commas). Candidates are measured in turns, with ratios.",
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            metavar="TRACKER",
            help="OpenCV tracker to compare with: csrt, kcf, mil, vit=MODEL or nano=BACKBONE,HEAD (repeatable).",
        ),
    ] = None,
    init_box: Annotated[
        str | None, typer.Option("--init-box", help="Box x,y,w,h of the target in pixels of the source's first frame.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="Minimum measuring time per row, in seconds.")
    ] = 3.0,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON; - for stdout.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the report as CSV; - for stdout.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the report as Markdown; - for stdout.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the latency distributions into a .png, .svg or .pdf file.")
    ] = None,
) -> None:
    """Measure the latency of a frame on this machine, stage by stage, in turns with the published graph."""
    from rich.console import Console

    from ..bench.outputs import BenchFiles
    from ..bench.report import warnings
    from ..bench.session import BenchSettings, run
    from .tables import bench_tables

    if compare and (unused := given(context, "backend", "provider", "precision", "device", "search_size")):
        raise UserError(
            f"--compare names all candidates itself: leave {' and '.join(unused)} out, or write it into a candidate, "
            "such as --compare openvino:fp32:s192."
        )
    files = BenchFiles(json, csv, markdown, plot)
    files.check()
    settings = BenchSettings(
        model=ensure_model(model),
        backend=backend,
        provider=provider,
        precision=precision,
        device=device,
        search_size=parse_search_size(search_size),
        threads=threads,
        batch=batch,
        compare=compare or (),
        peers=peer or (),
        source=source,
        init_box=init_box,
        seconds=seconds,
    )
    with Bars() as bars:
        report, rows = run(settings, bars)
    shown = Console(stderr=files.piped)
    width = shown.width if shown.is_terminal else None
    if width is None:
        shown.width = _UNLIMITED
    for table in bench_tables(report, width):
        shown.print(table, crop=False, overflow="ignore")
    for row in report["unavailable"]:
        shown.print(f"{row['name']} was not measured: {row['reason']}", markup=False, highlight=False, soft_wrap=True)
    for warning in warnings(report):
        Console(stderr=True).print(f"note: {warning}", markup=False, highlight=False, soft_wrap=True)
    files.write(report, rows)
