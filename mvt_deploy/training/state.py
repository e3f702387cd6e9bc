"""A run's folder: configuration, log, weights, and the state from which the run continues exactly where it stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError
from ..files import draft, write_whole
from ..network import MVT, save_checkpoint

_KEPT = {"model", "ema", "optimiser", "distillation", "step", "elapsed", "best", "rng", "rng_cuda"}
"""What a state holds."""

CONFIG, LOG, STATE, LATEST, BEST = "config.json", "log.jsonl", "state.pt", "mvt.safetensors", "best.safetensors"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a run.

    It holds ``config.json``, ``log.jsonl``, ``state.pt`` (to resume from), ``mvt.safetensors`` (the averaged weights)
    and, where tracks are held back, ``best.safetensors`` (the averaged weights that did best on them).

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def state(self) -> Path:
        """Path of the state to resume from."""
        return self.path / STATE

    def create(self, config: str) -> None:
        """Start a run: make the folder and write its configuration.

        Raises:
            TrainingError: The folder already holds a run, or cannot be written.
        """
        if self.state.exists() or (self.path / CONFIG).exists():
            raise TrainingError(
                f"{self.path} already holds a run: add --resume to continue it, or choose another --output."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.path / CONFIG, config)
        except OSError as error:
            raise TrainingError(f"the run's folder {self.path} cannot be written ({error.strerror}).") from error

    def read_config(self) -> str:
        """The configuration of the run in the folder.

        Raises:
            TrainingError: The folder holds no run, or its configuration is not text.
        """
        try:
            return (self.path / CONFIG).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TrainingError(f"{self.path / CONFIG} is damaged ({error}): start the run again.") from error
        except OSError as error:
            raise TrainingError(f"{self.path} holds no run to resume: start one without --resume.") from error

    def log(self, entry: dict[str, Any]) -> None:
        """Append an entry to the log, which has one JSON object per line."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def rewind_log(self, step: int) -> None:
        """Drop the entries after ``step``, which a resumed run writes again, and lines that are no entries."""
        path = self.path / LOG
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(line for line in lines if _is_entry(line, step)))

    def save_weights(self, model: MVT, name: str = LATEST) -> None:
        """Write a network's weights under the published key names."""
        save_checkpoint(model, self.path / name)

    def save_state(self, state: dict[str, Any]) -> None:
        """Write the state to resume from, whole or not at all."""
        with draft(self.state) as temporary:
            torch.save(state, temporary)

    def load_state(self) -> dict[str, Any] | None:
        """The last state, or None if the run ended before the first one was written.

        Raises:
            TrainingError: The state is damaged.
        """
        if not self.state.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise TrainingError(f"{self.state} is damaged ({type(error).__name__}): start the run again.") from error
        if not isinstance(state, dict) or not state.keys() >= _KEPT:
            raise TrainingError(f"{self.state} is not the state of a run: start the run again.")
        return state


def _is_entry(line: bytes, last: int) -> bool:
    """Whether a line of the log is a whole entry of the step ``last`` or an earlier one."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return False
    return line.endswith(b"\n") and isinstance(step, int) and step <= last
