"""``mvt-deploy eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..bundle import DEFAULT
from .options import Model, Precision, Provider, Threads, ensure_model, say


def eval(
    dataset: Annotated[Path, typer.Argument(help="The benchmark's folder, as unpacked, or a folder of clips.")],
    model: Model = DEFAULT,
    backend: Annotated[
        str | None, typer.Option("--backend", help="As for the other verbs; default ort, with --no-fusion torch.")
    ] = None,
    provider: Provider = "cpu",
    precision: Precision = None,
    threads: Threads = None,
    format: Annotated[
        str, typer.Option("--format", help="got10k, lasot, otb, nfs, uav123, trackingnet, vot, davis, folder or auto.")
    ] = "auto",
    split: Annotated[
        str | None, typer.Option("--split", help="Part of the benchmark, by its own name; default: the one in papers.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Sequences tracked at once on this machine.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Use a Ray cluster: local, auto, host:6379 or ray://host:10001."),
    ] = None,
    no_fusion: Annotated[
        bool, typer.Option("--no-fusion", help="The paper's ablation: attention within each image only.")
    ] = False,
    compare: Annotated[
        list[Path] | None, typer.Option("--compare", metavar="RUN", help="Another run's folder; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run's folder; default: runs/<dataset>-<model>.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of a table.")] = False,
) -> None:
    """Run a bundle over a benchmark and report what papers report; run again to resume. Writes reports and plots."""
    from rich.console import Console

    from ..evaluation import evaluate as evaluation
    from ..evaluation.datasets import open_dataset
    from ..evaluation.parallel import engine
    from ..evaluation.plots import can_plot
    from ..evaluation.progress import Bars
    from ..evaluation.report import to_json, to_tables
    from ..evaluation.runner import Model as Settings

    benchmark = open_dataset(dataset, format, split)
    ensure_model(model)
    backend = backend or ("torch" if no_fusion else "ort")
    settings = Settings(model, backend, precision, provider, not no_fusion, threads).settled()
    place = output or evaluation.default_output(benchmark, settings)
    with Bars() as bars:
        report = evaluation.evaluate(
            benchmark,
            settings.shared(None if ray else jobs),
            evaluation.describe(settings),
            place,
            engine=engine(jobs, ray, threads),
            progress=bars,
            against=compare,
            plots=can_plot(),
        )
    if json:
        print(to_json(report), end="")
    else:
        for table in to_tables(report):
            Console().print(table)
    plots = "plots" if can_plot() else "no plots (for them: pip install 'mvt-deploy[eval]')"
    say(f"written to {place}: report.md, report.json, report.csv, the results of every sequence, {plots}")
