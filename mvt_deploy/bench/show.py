"""Where a report goes: the screen, files, or stdout for machines."""

from __future__ import annotations

import json as encoder
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..errors import UserError
from ..files import write_whole
from .measure import Row
from .report import Report, plot, require_plots, table, to_csv, warnings
from .report import markdown as to_markdown

STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Files:
    """Where the report is written, each None if it is not; a path of ``-`` is stdout."""

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None
    plot: Path | None = None

    def check(self) -> None:
        """Refuse before measuring what could not be written afterwards.

        Raises:
            UserError: two reports on stdout, a place that cannot be written, or a plot that cannot be drawn.
        """
        if [self.json, self.csv, self.markdown].count(STDOUT) > 1:
            raise UserError("only one report can go to stdout: give the others a file name.")
        if self.plot:
            require_plots(self.plot)
        for path in (self.json, self.csv, self.markdown, self.plot):
            if path and path != STDOUT:
                _require_writable(path)


def show(report: Report, rows: Sequence[Row], files: Files) -> None:
    """Print the table, on stderr if a report goes to stdout, and write what was asked for.

    Raises:
        UserError: a file cannot be written.
    """
    wanted = [
        (files.json, encoder.dumps(report, indent=1) + "\n"),
        (files.csv, to_csv(report)),
        (files.markdown, to_markdown(report)),
    ]
    piped = any(path == STDOUT for path, _ in wanted)
    terminal = (sys.stderr if piped else sys.stdout).isatty()
    made = table(report)
    Console(stderr=piped, width=None if terminal else 400).print(made)
    for warning in warnings(report):
        print(f"note: {warning}", file=sys.stderr)
    for path, text in wanted:
        if path == STDOUT:
            sys.stdout.write(text)
        elif path:
            _write(path, text.encode())
    if files.plot:
        _write(files.plot, plot(rows, files.plot))


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
