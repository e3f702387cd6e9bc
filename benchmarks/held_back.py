"""Measure checkpoints on clips that were held back from training, as a run does when it chooses its best weights.

python benchmarks/held_back.py DATA --hold-out NAME [--hold-out NAME ...] CHECKPOINT [CHECKPOINT ...] [--output FILE]

Prints a JSON object: checkpoint to per-clip figures and their means. ``windows``: IoU on jittered windows. ``chained``:
AO when every window is cut around the box found in the frame before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from reports import script, write_json

from mvt_deploy.cli.options import say
from mvt_deploy.errors import UserError


def main(
    data: Annotated[Path, typer.Argument(help="Folder of training data.")],
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints to measure.")],
    hold_out: Annotated[list[str], typer.Option("--hold-out", help="Clips by name or pattern.")],
    seeds: Annotated[int, typer.Option(help="Draws of jitter and motion to average.")] = 3,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write as well.")] = None,
) -> None:
    """Measure checkpoints on held-back clips."""
    import numpy as np

    from mvt_deploy.network import load_checkpoint
    from mvt_deploy.training.discover import discover
    from mvt_deploy.training.validate import validate

    clips = discover(data, hold_out).held_back
    if not clips:
        raise UserError(f"no clip of {data} matches {', '.join(hold_out)}: give names as in tracks.json.")
    figures = {}
    for path in checkpoints:
        say(str(path))
        runs = [validate(load_checkpoint(path), clips, seed) for seed in range(seeds)]
        by_clip = {
            clip.name: {
                "windows": round(float(np.mean([run.windows[clip.name] for run in runs])), 4),
                "chained": round(float(np.mean([run.chained[clip.name] for run in runs])), 4),
            }
            for clip in clips
        }
        mean = {
            key: round(float(np.mean([clip[key] for clip in by_clip.values()])), 4) for key in ("windows", "chained")
        }
        figures[path.name] = {"mean": mean, "clips": by_clip}
    if output is not None:
        write_json(output, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    script(main)
