"""Result files of a run: boxes, times and scores per sequence, each written whole, and what the run was."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_whole
from ..groundtruth import Boxes
from .metrics import Floats
from .sequence import Dataset, Sequence

FORMAT = 1


class ResultError(UserError):
    """A run's folder holds another run, or results that do not fit the dataset."""


@dataclass(frozen=True, eq=False)
class SequenceResult:
    """The tracker's output on one sequence.

    Args:
        boxes: float64 ``[n, 4]``, ``x, y, w, h`` in pixels; the first one was given.
        scores: float64 ``[n]`` in 0..1; 1 in the first frame.
        seconds: Time of each frame in the tracker, float64 ``[n]``; the first one is the initialisation.
    """

    boxes: Boxes
    scores: Floats
    seconds: Floats


def table(values: Boxes | Floats, number_format: str) -> str:
    """Format an array as lines of comma-separated numbers."""
    stream = io.StringIO()
    np.savetxt(stream, values, fmt=number_format, delimiter=",")
    return stream.getvalue()


@dataclass(frozen=True)
class ResultsFolder:
    """The results of one tracker on one dataset.

    ``run.json`` says what was run; ``results/<sequence>.txt`` holds one ``x,y,w,h`` per line with three decimals,
    ``<sequence>_time.txt`` seconds and ``<sequence>_score.txt`` scores.

    Args:
        path: The folder.
    """

    path: Path

    def claim(self, dataset: Dataset, tracker: Mapping[str, object]) -> None:
        """Make the folder this run's, or check that it is.

        Args:
            dataset: What is run on.
            tracker: What is run: names and settings that JSON can hold.

        Raises:
            ResultError: The folder holds the results of something else, or cannot be written.
        """
        mine = {
            "format": FORMAT,
            "dataset": {
                "name": dataset.name,
                "format": dataset.format,
                "sequences": [s.name for s in dataset.sequences],
            },
            "tracker": dict(tracker),
        }
        file = self.path / "run.json"
        if file.is_file():
            theirs = self.info()
            for part in ("dataset", "tracker"):
                if theirs.get(part) != mine[part]:
                    raise ResultError(
                        f"{self.path} holds a run with another {part} ({_difference(mine[part], theirs.get(part))}): "
                        "give another folder with -o, or remove this one."
                    )
            return
        try:
            write_whole(file, json.dumps(mine, indent=1) + "\n")
        except OSError as error:
            raise ResultError(
                f"{self.path} cannot be written ({error.strerror}): give another place with -o."
            ) from error

    def release_if_empty(self) -> None:
        """Remove ``run.json``, and the folder with it, where no result was written: a refused run leaves nothing."""
        if not any((self.path / "results").glob("*.txt")):
            (self.path / "run.json").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else lies there
                self.path.rmdir()

    def info(self) -> dict[str, object]:
        """Read ``run.json``.

        Raises:
            ResultError: The file is missing or damaged.
        """
        try:
            content = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResultError(f"{self.path} is no folder of a run (no run.json that can be read): {error}.") from error
        if not isinstance(content, dict):
            raise ResultError(f"{self.path / 'run.json'} is damaged: run the evaluation again.")
        return content

    def label(self) -> str:
        """Return the label of the run's tracker, or else the folder's name."""
        tracker = self.info().get("tracker")
        return str(tracker.get("label", self.path.name)) if isinstance(tracker, dict) else self.path.name

    def _file(self, sequence: Sequence, suffix: str = "") -> Path:
        return self.path / "results" / f"{sequence.name}{suffix}.txt"

    def write(self, sequence: Sequence, result: SequenceResult) -> None:
        """Write a sequence's files; the boxes come last, so that their file means that all files are there.

        Raises:
            OSError: The files cannot be written.
        """
        write_whole(self._file(sequence, "_time"), table(result.seconds, "%.8f"))
        write_whole(self._file(sequence, "_score"), table(result.scores, "%.6f"))
        write_whole(self._file(sequence), table(result.boxes, "%.3f"))

    def has(self, sequence: Sequence) -> bool:
        """Tell whether a whole result of the sequence is there."""
        try:
            self.read(sequence)
        except ResultError:
            return False
        return True

    def read(self, sequence: Sequence) -> SequenceResult:
        """Read the result of a sequence.

        Raises:
            ResultError: The result is missing, damaged or of another length.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an empty file, which the lengths below refuse
                boxes = np.loadtxt(self._file(sequence), delimiter=",", ndmin=2)
                scores = np.loadtxt(self._file(sequence, "_score"), ndmin=1)
                seconds = np.loadtxt(self._file(sequence, "_time"), ndmin=1)
        except (OSError, ValueError) as error:
            raise ResultError(f"{self.path} has no whole result of {sequence.name} ({error}): run it again.") from error
        count = len(sequence.frames)
        if (
            boxes.shape != (count, 4)
            or scores.shape != (count,)
            or seconds.shape != (count,)
            or not np.isfinite(boxes).all()
        ):
            raise ResultError(
                f"{self._file(sequence)} does not hold {count} boxes, one per frame of {sequence.name}: run it again."
            )
        return SequenceResult(boxes, scores, seconds)


def _difference(mine: object, theirs: object) -> str:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = [k for k in mine if mine[k] != theirs.get(k)]
        return ", ".join(f"{k}: {_short(theirs.get(k))}, not {_short(mine[k])}" for k in keys)
    return "unreadable"


def _short(value: object) -> str:
    return f"{len(value)} sequences" if isinstance(value, list) else str(value)
