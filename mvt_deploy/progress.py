"""How long work tells what it is doing: one protocol, which the command line draws and a program may ignore."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Task(Protocol):
    """One piece of work, with a known or an unknown number of steps; a context manager that finishes it."""

    def advance(self, steps: float = 1, note: str | None = None) -> None:
        """Count steps as done.

        Args:
            steps: Number of steps done since the last call; fractions are allowed.
            note: Short text about the current step, shown beside the bar; None keeps the last one.
        """
        ...

    def resize(self, total: float) -> None:
        """Set the number of steps, once it is known."""
        ...

    def finish(self) -> None:
        """End the task; calling it twice is allowed."""
        ...

    def __enter__(self) -> Task: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """Receives what long-running functions report. Tasks may be nested, and their names may repeat."""

    def message(self, text: str) -> None:
        """Report one fact or step in a sentence, for a line of its own."""
        ...

    def task(self, name: str, total: float | None = None, done: float = 0) -> Task:
        """Begin a task.

        Args:
            name: What is done, in a few words.
            total: Number of steps; None where it is not known.
            done: Number of steps that were done before, by an earlier run.
        """
        ...


class _SilentTask:
    def advance(self, steps: float = 1, note: str | None = None) -> None:
        pass

    def resize(self, total: float) -> None:
        pass

    def finish(self) -> None:
        pass

    def __enter__(self) -> _SilentTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class _Silent:
    def message(self, text: str) -> None:
        pass

    def task(self, name: str, total: float | None = None, done: float = 0) -> Task:
        return _SilentTask()


SILENT: Progress = _Silent()
"""A :class:`Progress` that reports nothing: the default of every function that takes one."""
