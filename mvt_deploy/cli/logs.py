"""What the commands say on stderr: sentences for people, or one JSON object a line for services."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from datetime import datetime, timezone

_ROOT = logging.getLogger("mvt_deploy")
_COMMANDS = logging.getLogger("mvt_deploy.cli")
_METRICS = logging.getLogger("mvt_deploy.metrics")
_EVENTS = logging.getLogger("mvt_deploy.events")


class _Stderr(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # a full disk, a reader that went away: no reason to end a run
            print(self.format(record), file=sys.stderr, flush=True)


class _Sentences(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"error: {message}" if record.levelno >= logging.ERROR else message


class _JsonLines(logging.Formatter):
    """``{"time": UTC, "level": "info", "logger": ..., "message": ..., <fields>}``; ``traceback`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def use(json_lines: bool = False) -> None:
    """Choose the form; without it, sentences. JSON lines also tell what happens in a run (lost, found, dropped)."""
    handler = _Stderr()
    handler.setFormatter(_JsonLines() if json_lines else _Sentences())
    for old in [h for h in _ROOT.handlers if isinstance(h, _Stderr)]:
        _ROOT.removeHandler(old)
    _ROOT.addHandler(handler)
    _ROOT.propagate = False
    _COMMANDS.setLevel(logging.INFO)
    _METRICS.setLevel(logging.INFO)
    _EVENTS.setLevel(logging.INFO if json_lines else logging.WARNING)


def in_json() -> bool:
    """Whether stderr is for machines."""
    return any(isinstance(h.formatter, _JsonLines) for h in _ROOT.handlers)


def info(message: str, fields: dict[str, object]) -> None:
    """Say something."""
    _ready()
    _COMMANDS.info("%s", message, extra={"fields": fields})


def error(problem: BaseException) -> None:
    """Say what went wrong, for a user's mistake: one sentence."""
    _ready()
    _COMMANDS.error("%s", problem, extra={"fields": {"error": type(problem).__name__}})


def crash() -> None:
    """Say that the exception in flight is a fault of the program."""
    _ready()
    _COMMANDS.critical("the program failed", exc_info=True)


def _ready() -> None:
    if not any(isinstance(h, _Stderr) for h in _ROOT.handlers):
        use()
