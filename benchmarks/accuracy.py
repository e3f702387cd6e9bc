"""Make ``benchmarks/accuracy.md``: the default checkpoint on a folder of clips, with every backend and precision.

python benchmarks/accuracy.py CLIPS [--model DIR] [--runs DIR] [--jobs N]
"""

from __future__ import annotations

import platform
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy
import poster
import typer
from reports import RESULTS, script, write_json

from mvt_deploy.bundle import DEFAULT, open_bundle
from mvt_deploy.cli.bars import Bars
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.bootstrap import Difference, compare_runs
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.evaluate import evaluate
from mvt_deploy.evaluation.executors import open_executor
from mvt_deploy.evaluation.metrics import METRICS, figures
from mvt_deploy.evaluation.report import DEFINITIONS, NO_VERDICT, EvaluationReport, text
from mvt_deploy.evaluation.runner import TrackerFactory
from mvt_deploy.evaluation.sequence import Dataset
from mvt_deploy.files import write_whole
from mvt_deploy.version import __version__

HERE = Path(__file__).parent
RUNS = (  # the first one is what the others are compared with
    ("torch", "cpu", "fp32", True),
    ("ort", "cpu", "fp32", True),
    ("ort", "cpu", "fp16", True),
    ("ort", "cpu", "int8", True),
    ("openvino", "cpu", "fp32", True),
    ("openvino", "cpu", "bf16", True),
    ("openvino", "cpu", "int8", True),
    ("ort", "openvino", "fp32", True),
    ("ort", "openvino", "bf16", True),
    ("torch", "cpu", "fp32", False),
)
SHOWN = tuple(key for key in METRICS if key not in ("precision_area_50", "fps_mean", "fps_total"))  # speed: see bench

PAPER = f"""\
## The published weights (the authors' figures, not ours)

Their checkpoint is not available here, so nothing of it was measured. They give AO **0.633** on the GOT-10k test split
(github.com/goutamyg/MVT, `lib/tutorial/MVT_ONNX_TRT_Tutorial.md`; Gopal and Amer, *Mobile Vision Transformer-based
Visual Object Tracking*, BMVC 2023, arXiv 2309.05829).

The two sets of figures are not on the same data: the clips above are few, short and not the GOT-10k test split, whose
ground truth only its server has. With the dataset at hand, `mvt-deploy eval GOT-10k --split test` writes the archive to
upload, and `--no-fusion` runs the ablation.

{poster.tables()}
"""


def name(model: TrackerFactory) -> str:
    """What a row is called."""
    runtime = model.backend if model.provider == "cpu" else f"{model.backend} ({model.provider})"
    return f"{runtime} {model.precision}" + ("" if model.fusion else ", without fusion")


def measure(
    dataset: Dataset, bundle: Path, runs: Path, jobs: int
) -> tuple[dict[str, EvaluationReport], dict[str, str]]:
    """Reports by row, and why the others are not available here."""
    reports: dict[str, EvaluationReport] = {}
    refused: dict[str, str] = {}
    for backend, provider, precision, fusion in RUNS:
        model = TrackerFactory(bundle, backend, precision, provider, fusion)
        say(name(model))
        try:
            with open_executor(jobs) as executor, Bars() as bars:
                reports[name(model)] = evaluate(
                    dataset,
                    model.split_threads(jobs),
                    model.describe(),
                    runs / model.label,
                    executor=executor,
                    progress=bars,
                    plots=False,
                )
        except UserError as error:
            refused[name(model)] = str(error)
    return reports, refused


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def interval(d: Difference) -> str:
    """A difference and its interval, without a minus before zero."""
    plain, low, high = (f"{round(v, 4) + 0.0:+.4f}" for v in (d.difference, d.low, d.high))
    return f"{plain} ({low} … {high})"


def page(dataset: Dataset, bundle: Path, reports: dict[str, EvaluationReport], refused: dict[str, str]) -> str:
    """The whole document."""
    checkpoint = open_bundle(bundle).manifest.checkpoint
    reference, first = next(iter(reports.items()))
    frames = sum(len(s.frames) for s in dataset.sequences)
    overall = [[row, *(text(k, r.figures()[k]) for k in SHOWN)] for row, r in reports.items()]
    against = []
    for row, report in reports.items():
        if row != reference:
            found = {d.metric: d for d in compare_runs(report.scores, first.scores)}
            cells = [interval(found[k]) for k in ("ao", "success_auc")]
            against.append([row, *cells, found["ao"].verdict or NO_VERDICT])
    clips = [
        [s.name, str(s.frames), *(text("ao", figures([r.scores[i]])["ao"]) for r in reports.values())]
        for i, s in enumerate(first.scores)
    ]
    parts = [
        "# Accuracy",
        f"Made by `benchmarks/accuracy.py` with mvt-deploy {__version__}, NumPy {numpy.__version__}, Python "
        f"{platform.python_version()} on {platform.machine()}. Checkpoint `{checkpoint.source}` (in its bundle sha256 "
        f"`{checkpoint.sha256[:16]}…`, {checkpoint.parameters:,} parameters) on {len(dataset.sequences)} clips, "
        f"{frames} frames, that it was never trained on; one pass from the first frame, as published, no lost policy.",
        "## All clips",
        table(["", *(METRICS[k] for k in SHOWN)], overall),
        first_sentence(first),
        f"## Against {reference}",
        "Difference and 95 % interval, paired bootstrap over clips.",
        table(["", METRICS["ao"], METRICS["success_auc"], "verdict on AO"], against),
        "## AO by clip",
        table(["clip", "frames", *reports], clips),
    ]
    if refused:
        parts += ["## Not available where this was made", "\n".join(f"- {row}: {why}" for row, why in refused.items())]
    return "\n\n".join([*parts, PAPER])


def first_sentence(report: EvaluationReport) -> str:
    """What the figures mean, in the words of every report."""
    return DEFINITIONS.split(" Speed counts")[0]


def main(
    clips: Annotated[Path, typer.Argument(help="A folder of clips, or a benchmark with public ground truth.")],
    model: Annotated[Path, typer.Option("--model", help="The bundle, with fp16 and int8 graphs.")] = DEFAULT,
    runs: Annotated[Path, typer.Option("--runs", help="Where results go; finished ones are used again.")] = Path(
        "runs/accuracy"
    ),
    jobs: Annotated[int, typer.Option("--jobs", help="Clips tracked at once.")] = 1,
) -> None:
    """Measure every backend and precision on the clips and write benchmarks/accuracy.md and results/accuracy.json."""
    ensure_model(model)
    dataset = open_dataset(clips)
    manifest = open_bundle(model).manifest
    checkpoint = manifest.checkpoint.sha256
    graphs = sha256("".join(sorted(g.sha256 for g in manifest.graphs)).encode()).hexdigest()
    reports, refused = measure(dataset, model, runs / graphs[:12], jobs)
    write_whole(HERE / "accuracy.md", page(dataset, model, reports, refused))
    content = {
        "checkpoint": checkpoint,
        "clips": [s.name for s in dataset.sequences],
        "runs": {
            row: {"figures": {k: r.figures()[k] for k in SHOWN}, "ao": {s.name: figures([s])["ao"] for s in r.scores}}
            for row, r in reports.items()
        },
        "not_available": refused,
    }
    write_json(RESULTS / "accuracy.json", content)


if __name__ == "__main__":
    script(main)
