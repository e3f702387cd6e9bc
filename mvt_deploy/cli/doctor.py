"""``mvt-deploy doctor``."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say which backends, providers and video features work on this machine, and what to install for the others."""
    import json as encoder
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..doctor import examine

    findings = examine()
    if json:
        print(encoder.dumps([asdict(f) for f in findings], indent=1))
        return
    table = Table("", "feature", "found", "to get it")
    for finding in findings:
        table.add_row("yes" if finding.works else "no", finding.feature, escape(finding.detail), escape(finding.remedy))
    Console().print(table)
