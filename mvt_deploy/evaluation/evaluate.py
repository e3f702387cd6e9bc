"""The whole evaluation of one tracker on one dataset: run what is missing, score, compare, write everything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..bundle import open_bundle
from ..errors import UserError
from .compare import compare
from .plots import write_plots
from .report import Report, scores_of, write_reports
from .results import RunFolder
from .runner import Engine, Model, OneTarget, Progress, in_turn, run
from .sequence import Dataset
from .sheet import write_sheet
from .submission import write_submission


def describe(model: Model) -> dict[str, Any]:
    """What identifies a model's run: its label, checkpoint and settings.

    Raises:
        BundleError: there is no bundle.
    """
    checkpoint = open_bundle(model.bundle).manifest.checkpoint
    return {
        "label": model.label,
        "checkpoint": checkpoint.sha256,
        "backend": model.backend,
        "precision": model.precision or "fp32",
        "provider": model.provider,
        "fusion": model.fusion,
    }


def default_output(dataset: Dataset, model: Model) -> Path:
    """Where a run goes unless told otherwise: ``runs/<dataset>-<model>``."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{dataset.name}-{model.label}").strip("-")
    return Path("runs") / name


def evaluate(
    dataset: Dataset,
    make: Callable[[], OneTarget],
    tracker: Mapping[str, Any],
    output: Path,
    *,
    engine: Engine = in_turn,
    progress: Progress | None = None,
    against: list[Path] | None = None,
    plots: bool = True,
) -> Report:
    """Evaluate a tracker; finished sequences of an earlier, interrupted run in ``output`` are not tracked again.

    Args:
        dataset: from :func:`mvt_deploy.evaluation.datasets.open_dataset`.
        make: gives a tracker, such as a :class:`mvt_deploy.evaluation.runner.Model`; must travel between processes for
            engines that use several.
        tracker: what identifies it, with a ``label``; results in ``output`` must be of the same.
        output: the run's folder: results, ``report.json``, ``report.md``, ``report.csv``, plots, ``worst.jpg`` and, for
            GOT-10k and TrackingNet, the archive to upload.
        engine: where the tracking is done.
        progress: told what has been done.
        against: folders of other runs on the same dataset to compare with.
        plots: False leaves the plots out (they need matplotlib); they are written last.

    Raises:
        UserError: tracking failed, or a folder holds something else.
    """
    others = [RunFolder(path) for path in against or []]
    for other in others:
        other.info()
    if others and not dataset.labelled:
        raise UserError(f"the ground truth of {dataset.name} is not public, so runs on it cannot be compared here.")
    folder = RunFolder(output)
    folder.claim(dataset, tracker)
    run(dataset, make, folder, engine, progress)
    scores = scores_of(dataset, folder)
    theirs = {_label(other, str(tracker["label"])): scores_of(dataset, other) for other in others}
    report = Report(
        str(tracker["label"]),
        dataset.name,
        dataset.format,
        scores,
        any(s.derived for s in dataset.sequences),
        tracker,
        {label: compare(scores, their) for label, their in theirs.items()},
    )
    write_reports(report, output)
    write_submission(dataset, folder)
    if report.labelled:
        write_sheet(dataset, folder, scores)
        if plots:
            write_plots({report.label: scores, **theirs}, dataset.name, output, report.derived)
    return report


def _label(other: RunFolder, mine: str) -> str:
    """A name for another run: its tracker's, or its folder's where that is ours too."""
    label = other.label()
    return label if label != mine else f"{label} ({other.path.name})"
