"""Progress bars of long commands, on stderr."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from .options import say


class Bars:
    """The :class:`~mvt_deploy.progress.Progress` of the command line: one bar per task on stderr, messages above them.

    A context manager. The bars appear with the first task, so that a refusal before the work is all there is to read,
    and vanish at the end.
    """

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )

    def message(self, text: str) -> None:
        """Print a sentence above the bars."""
        say(text)

    def task(self, name: str, total: float | None = None, done: float = 0) -> Bar:
        """Begin a task, drawn as a bar below those already open."""
        if not self._bars.live.is_started:
            self._bars.start()
        return Bar(self._bars, name, total, done)

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars.live.is_started:
            self._bars.stop()


class Bar:
    """One bar: the :class:`~mvt_deploy.progress.Task` of the command line."""

    def __init__(self, bars: Progress, name: str, total: float | None, done: float) -> None:
        self._bars = bars
        self._task: TaskID | None = bars.add_task(name, total=total, completed=int(done), note="")

    def advance(self, steps: float = 1, note: str | None = None) -> None:
        """Count steps as done, and show a note beside the bar."""
        if self._task is not None:
            self._bars.advance(self._task, steps)
            if note is not None:
                self._bars.update(self._task, note=note)

    def resize(self, total: float) -> None:
        """Set the number of steps."""
        if self._task is not None:
            self._bars.update(self._task, total=total)

    def finish(self) -> None:
        """Remove the bar."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
