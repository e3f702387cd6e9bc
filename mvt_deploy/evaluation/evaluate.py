"""The whole evaluation of one tracker on one dataset: run what is missing, score, compare, write everything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..progress import SILENT, Progress
from .bootstrap import compare_runs
from .plots import write_plots
from .report import EvaluationReport, scores_of, write_reports
from .results import ResultError, ResultsFolder
from .runner import Executor, Make, TrackerFactory, run_dataset, serial
from .sequence import Dataset
from .sheet import write_sheet
from .submission import write_submission


def default_output(dataset: Dataset, factory: TrackerFactory) -> Path:
    """Return where a run goes unless told otherwise: ``runs/<dataset>-<label>``."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{dataset.name}-{factory.label}").strip("-")
    return Path("runs") / name


def evaluate(
    dataset: Dataset,
    make: Make,
    tracker: Mapping[str, Any],
    output: Path,
    *,
    executor: Executor = serial,
    progress: Progress = SILENT,
    against: Sequence[Path] = (),
    notes: Sequence[str] = (),
    plots: bool = True,
) -> EvaluationReport:
    """Evaluate a tracker; sequences that an earlier, interrupted run in ``output`` finished are not tracked again.

    Args:
        dataset: Sequences, from :func:`mvt_deploy.evaluation.datasets.open_dataset`.
        make: Makes a tracker, such as a :class:`mvt_deploy.evaluation.runner.TrackerFactory`; executors that use
            several processes pickle it.
        tracker: What identifies the tracker, with a ``label``; results in ``output`` must be of the same tracker.
        output: The run's folder: results, ``report.json``, ``report.md``, ``report.csv``, plots, ``worst.jpg`` and, for
            GOT-10k and TrackingNet, the archive to upload.
        executor: Where the tracking is done.
        progress: Receives the number of sequences and frames done.
        against: Folders of other runs on the same dataset to compare with.
        notes: Sentences that go into the reports.
        plots: Write plots (they need matplotlib); they are written last.

    Raises:
        UserError: Tracking failed, a folder holds something else, or a file cannot be written.
    """
    others = [ResultsFolder(path) for path in against]
    for other in others:
        other.info()
    if others and not dataset.labelled:
        raise UserError(f"the ground truth of {dataset.name} is not public, so runs on it cannot be compared here.")
    folder = ResultsFolder(output)
    folder.claim(dataset, tracker)
    try:
        run_dataset(dataset, make, folder, executor, progress)
        scores = scores_of(dataset, folder)
        theirs = {_label(other, str(tracker["label"])): scores_of(dataset, other) for other in others}
        report = EvaluationReport(
            str(tracker["label"]),
            dataset.name,
            dataset.format,
            scores,
            any(s.derived for s in dataset.sequences),
            tracker,
            {label: compare_runs(scores, their) for label, their in theirs.items()},
            tuple(notes),
        )
        write_reports(report, output)
        write_submission(dataset, folder)
        if report.labelled:
            write_sheet(dataset, folder, scores)
            if plots:
                write_plots({report.label: scores, **theirs}, dataset.name, output, report.derived)
    except UserError:
        folder.release_if_empty()
        raise
    except OSError as error:
        raise ResultError(
            f"{output} cannot be written ({error.strerror or error}): make room, and run the same command again; "
            "finished sequences are kept."
        ) from error
    return report


def _label(other: ResultsFolder, mine: str) -> str:
    """A name for another run: its tracker's label, with its folder's name where both labels are the same."""
    label = other.label()
    return label if label != mine else f"{label} ({other.path.name})"
