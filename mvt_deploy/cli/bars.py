"""Progress bars of long commands, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class BuildBars:
    """An engine build's phases as nested bars; they vanish when it is done."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._open: list[tuple[str, TaskID]] = []

    def __enter__(self) -> BuildBars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, phase: str, steps: int) -> None:
        """A phase of so many steps begins."""
        self._open.append((phase, self._bars.add_task("  " * len(self._open) + phase, total=max(steps, 1))))

    def step(self, phase: str) -> None:
        """One step of a phase is done."""
        if (task := self._find(phase)) is not None:
            self._bars.advance(task)

    def finish(self, phase: str) -> None:
        """A phase is over."""
        if (task := self._find(phase)) is not None:
            self._open = [entry for entry in self._open if entry[1] != task]
            self._bars.remove_task(task)

    def _find(self, phase: str) -> TaskID | None:
        """The phase of this name that began last: names repeat."""
        return next((task for name, task in reversed(self._open) if name == phase), None)


@contextmanager
def clip_bar(clips: Mapping[str, int | None]) -> Iterator[Callable[[str, int], None]]:
    """A bar over clips and their frames (name to number of frames, if known); told the clip and frame it is at."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def watch(name: str, frame: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=clips.get(name))
            bars.update(tasks[name], completed=frame + 1)

        yield watch


@contextmanager
def count_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over a number of things; told how many are done and how many there are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
