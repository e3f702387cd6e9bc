"""Where a report is written: files, or stdout for machines."""

from __future__ import annotations

import json as encoder
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import write_whole
from .measure import Row
from .report import BenchReport, plot, require_plots, to_csv
from .report import markdown as to_markdown

STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class BenchFiles:
    """Where the report is written.

    Attributes:
        json: File for the report as JSON, as for the next ones: ``-`` is stdout, None writes no such file.
        csv: File for the report as CSV.
        markdown: File for the report as Markdown.
        plot: Picture of the latency distributions.
    """

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None
    plot: Path | None = None

    def check(self) -> None:
        """Refuse, before measuring, what could not be written afterwards.

        Raises:
            MissingExtra: A plot is asked for and matplotlib is not installed.
            UserError: Two reports go to stdout, a place cannot be written, or a plot cannot be drawn.
        """
        if [self.json, self.csv, self.markdown].count(STDOUT) > 1:
            raise UserError("only one report can go to stdout: give the others a file name.")
        if self.plot:
            require_plots(self.plot)
        for path in (self.json, self.csv, self.markdown, self.plot):
            if path and path != STDOUT:
                _require_writable(path)

    @property
    def piped(self) -> bool:
        """Whether a report goes to stdout, which then must hold nothing else."""
        return STDOUT in (self.json, self.csv, self.markdown)

    def write(self, report: BenchReport, rows: Sequence[Row]) -> None:
        """Write what was asked for.

        Raises:
            UserError: A file cannot be written.
        """
        for path, text in (
            (self.json, encoder.dumps(report, indent=1) + "\n"),
            (self.csv, to_csv(report)),
            (self.markdown, to_markdown(report)),
        ):
            if path == STDOUT:
                sys.stdout.write(text)
            elif path:
                _write(path, text.encode())
        if self.plot:
            _write(self.plot, plot(report, rows, self.plot))


def _require_writable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.is_dir()
    except OSError as error:
        raise _unwritable(path, error) from error
    if folder or not os.access(path.parent, os.W_OK):
        raise UserError(
            f"cannot write {path}: it is a folder, or in one that is write-protected; choose another place."
        )


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; choose another place.")
