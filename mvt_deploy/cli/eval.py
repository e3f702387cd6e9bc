"""``mvt-deploy eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model, Precision, Provider, SearchSizeText, Threads, ensure_model, parse_search_size, say


def eval(
    dataset: Annotated[Path, typer.Argument(help="Folder of a benchmark, as it is unpacked, or a folder of clips.")],
    model: Model = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="Runtime of the network, as in track; default: ort, with --no-fusion torch."),
    ] = None,
    provider: Provider = "cpu",
    precision: Precision = None,
    threads: Threads = None,
    search_size: SearchSizeText = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", help="Layout: got10k, lasot, otb, nfs, uav123, trackingnet, vot, davis, folder, or auto."
        ),
    ] = "auto",
    split: Annotated[
        str | None,
        typer.Option("--split", help="Part of the benchmark by its own name; default: the part that papers report."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Number of sequences tracked at once on this machine.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Use a Ray cluster: local, auto, host:6379 or ray://host:10001."),
    ] = None,
    no_fusion: Annotated[
        bool,
        typer.Option("--no-fusion", help="Run the paper's ablation: attention within template and search region only."),
    ] = False,
    compare: Annotated[
        list[Path] | None,
        typer.Option("--compare", metavar="RUN", help="Folder of another run to compare with; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the run; default: runs/<dataset>-<model>.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of tables.")] = False,
) -> None:
    """Run a bundle over a benchmark and report what papers report; run again to resume. Writes reports and plots."""
    from rich.console import Console

    from ..bundle import open_bundle
    from ..evaluation.datasets import open_dataset
    from ..evaluation.evaluate import default_output, evaluate
    from ..evaluation.executors import open_executor
    from ..evaluation.plots import can_plot
    from ..evaluation.report import to_json
    from ..evaluation.runner import TrackerFactory
    from ..evaluation.training_data import exposure_notes
    from .bars import Bars
    from .tables import evaluation_tables

    benchmark = open_dataset(dataset, format, split)
    folder = ensure_model(model)
    backend, side = backend or ("torch" if no_fusion else "ort"), parse_search_size(search_size)
    factory = TrackerFactory(folder, backend, precision, provider, not no_fusion, threads, side).resolve_auto()
    place = output or default_output(benchmark, factory)
    notes = exposure_notes(benchmark, open_bundle(folder))
    with open_executor(jobs, ray, threads) as executor, Bars() as bars:
        report = evaluate(
            benchmark,
            factory.split_threads(None if ray else jobs),
            factory.describe(),
            place,
            executor=executor,
            progress=bars,
            against=compare or [],
            notes=notes,
            plots=can_plot(),
        )
    if json:
        print(to_json(report), end="")
    else:
        for table in evaluation_tables(report):
            Console().print(table)
    for note in notes:
        say(f"note: {note}")
    plots = "plots" if can_plot() else "no plots (for them: pip install 'mvt-deploy[eval]')"
    say(f"written to {place}: report.md, report.json, report.csv, the results of every sequence, {plots}")
