"""What the scripts of this folder share: how they run, where their reports go, and how those are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from mvt_deploy.cli.options import say
from mvt_deploy.errors import UserError
from mvt_deploy.files import write_whole

RESULTS = Path(__file__).parent / "results"


def script(main: Callable[..., None]) -> None:
    """Run a script's command line; a user's mistake is one line and the error's exit code."""
    try:
        typer.run(main)
    except UserError as error:
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from error


def write_json(path: Path, report: Any) -> None:
    """Write a report so that it is there entirely or not at all."""
    write_whole(path, json.dumps(report, indent=1) + "\n")


def machine_name(machine: dict[str, Any]) -> str:
    """Processor and cores of a ``describe()``, fit for a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")


def write_for_machine(results: Path, name: str, report: dict[str, Any]) -> None:
    """Write a report as ``<name>-<machine>.json`` and print its path; its ``machine`` is that of ``describe()``."""
    place = results / f"{name}-{machine_name(report['machine'])}.json"
    write_json(place, report)
    print(place)
