"""A progress that remembers what it was told: the only stand-in for one in the tests."""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType


class Told:
    """A :class:`mvt_deploy.progress.Progress` for tests.

    Args:
        interrupt_after: Number of steps after which the work is interrupted as by Ctrl-C; None for never.

    Attributes:
        messages: The sentences, in order.
        begun: Names of the tasks, in order.
        totals: Number of steps by the name of the task, as last set.
        before: Steps that an earlier run had done, by the name of the task.
        done: Steps counted, with those of earlier runs, by the name of the task.
        steps: Steps counted of all tasks, without those of earlier runs.
        notes: Short texts about the steps, by the name of the task.
        open: Names of the tasks that have not been finished.
    """

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.interrupt_after = interrupt_after
        self.messages: list[str] = []
        self.begun: list[str] = []
        self.totals: dict[str, float | None] = {}
        self.before: dict[str, float] = {}
        self.done: dict[str, float] = defaultdict(float)
        self.steps = 0.0
        self.notes: dict[str, list[str]] = defaultdict(list)
        self.open: list[str] = []

    def message(self, text: str) -> None:
        """Remember a sentence."""
        self.messages.append(text)

    def task(self, name: str, total: float | None = None, done: float = 0) -> ToldTask:
        """Begin a task."""
        self.begun.append(name)
        self.totals[name] = total
        self.before[name] = done
        self.done[name] += done
        self.open.append(name)
        return ToldTask(self, name)


class ToldTask:
    """A :class:`mvt_deploy.progress.Task` of :class:`Told`."""

    def __init__(self, told: Told, name: str) -> None:
        self._told = told
        self._name = name

    def advance(self, steps: float = 1, note: str | None = None) -> None:
        """Count steps.

        Raises:
            KeyboardInterrupt: The work is to be interrupted here.
        """
        told = self._told
        told.done[self._name] += steps
        told.steps += steps
        if note:
            told.notes[self._name].append(note)
        if told.interrupt_after is not None and told.steps >= told.interrupt_after:
            raise KeyboardInterrupt

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
