"""A progress that remembers what it was told."""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType


class Told:
    """A :class:`mvt_deploy.progress.Progress` for tests.

    Attributes:
        messages: The sentences, in order.
        done: Steps counted, by the name of the task.
        totals: Number of steps by the name of the task, as last set.
        open: Names of the tasks that have not been finished.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.done: dict[str, float] = defaultdict(float)
        self.totals: dict[str, float | None] = {}
        self.open: list[str] = []

    def message(self, text: str) -> None:
        """Remember a sentence."""
        self.messages.append(text)

    def task(self, name: str, total: float | None = None, done: float = 0) -> ToldTask:
        """Begin a task."""
        self.totals[name] = total
        self.done[name] += done
        self.open.append(name)
        return ToldTask(self, name)


class ToldTask:
    """A :class:`mvt_deploy.progress.Task` of :class:`Told`."""

    def __init__(self, told: Told, name: str) -> None:
        self._told = told
        self._name = name

    def advance(self, steps: float = 1, note: str | None = None) -> None:
        """Count steps."""
        self._told.done[self._name] += steps

    def resize(self, total: float) -> None:
        """Remember the number of steps."""
        self._told.totals[self._name] = total

    def finish(self) -> None:
        """End the task."""
        if self._name in self._told.open:
            self._told.open.remove(self._name)

    def __enter__(self) -> ToldTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
