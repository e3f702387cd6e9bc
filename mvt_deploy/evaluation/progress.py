"""Bars on stderr: sequences and frames."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """The :class:`mvt_deploy.evaluation.runner.Progress` of the command line; a context manager.

    They appear with the work, so that a refusal before it is all there is to read.
    """

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[name]}"),
            console=Console(stderr=True),
        )
        self._sequences = self._bars.add_task("sequences", total=None, name="")
        self._frames = self._bars.add_task("frames", total=None, name="")

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars.live.is_started:
            self._bars.stop()

    def start(self, sequences: int, frames: int, done_sequences: int, done_frames: int) -> None:
        self._bars.start()
        self._bars.update(self._sequences, total=sequences, completed=done_sequences)
        self._bars.update(self._frames, total=frames, completed=done_frames)

    def frames(self, count: int, /) -> None:
        self._bars.advance(self._frames, count)

    def sequence(self, name: str, /) -> None:
        self._bars.update(self._sequences, advance=1, name=name)
