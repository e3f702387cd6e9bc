"""What ``mvt-deploy train`` does around the library call: options become a configuration, progress a bar."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from ..errors import TrainingError
from ..training import TrainConfig, budget_warning, from_json, small_budget, train
from .bars import Bars
from .options import say


def configure(
    path: Path | None, minutes: float | None, hold_out: tuple[str, ...], options: Mapping[str, float | int | None]
) -> TrainConfig:
    """The configuration that the options describe: a file's, the preset for a budget, or the published recipe.

    Args:
        path: A configuration file.
        minutes: Budget of computing time, in minutes.
        hold_out: Patterns of tracks to validate on.
        options: Other attributes of the configuration by name; those that are None are left as they are.

    Raises:
        TrainingError: The file cannot be read, or a value is impossible.
    """
    changes = {name: value for name, value in options.items() if value is not None}
    if path is not None:
        try:
            config = from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TrainingError(f"the configuration {path} cannot be read ({reason}).") from error
        changes |= {} if minutes is None else {"minutes": minutes}
    else:
        config = TrainConfig() if minutes is None else small_budget(minutes)
    return dataclasses.replace(config, hold_out=hold_out or config.hold_out, **changes)  # type: ignore[arg-type]


def follow(
    data: Path,
    output: Path,
    config: TrainConfig | None,
    start: Path | None,
    device: str,
    resume: bool,
    stop_after: float | None = None,
) -> Path | None:
    """Train with a progress bar on stderr.

    Returns:
        The path of the weights; None where ``stop_after`` ended the run before its end.
    """
    if config is not None and (warning := budget_warning(config, from_weights=start is not None)):
        say(f"warning: {warning}")
    with Bars() as bars:
        return train(data, output, config, start, device, resume, stop_after, bars)
