"""``mvt-deploy doctor``."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say which backends, providers and video features work on this machine, and what to install for the others."""
    import json as encoder
    from dataclasses import asdict

    from rich.console import Console

    from ..doctor import examine
    from .tables import findings_table

    findings = examine()
    if json:
        print(encoder.dumps([asdict(f) for f in findings], indent=1))
        return
    console = Console()
    console.print(findings_table(findings))
    missing = [finding for finding in findings if finding.remedy]
    if missing:
        console.print("\nTo get the others:")
    for finding in missing:  # outside the table: a command that is cut or folded cannot be copied
        console.print(f"  {finding.feature}:  {finding.remedy}", soft_wrap=True, markup=False, highlight=False)
