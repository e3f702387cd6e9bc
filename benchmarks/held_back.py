"""Measure checkpoints on tracks that were held back from training, as a run does when it chooses its best weights.

python benchmarks/held_back.py DATA CHECKPOINT [CHECKPOINT ...] --hold-out PATTERN [--hold-out ...] [--output FILE]
python benchmarks/held_back.py DATA CHECKPOINT [CHECKPOINT ...] --hold-out-file DATA/held-back.txt

Prints a JSON object that maps each checkpoint to its figures: ``windows`` is the IoU on jittered windows, ``chained``
the AO when every window is cut around the box that was found in the frame before, both per track and as means;
``auroc`` is that of the score as a sign that the target is tracked (IoU of at least 0.2), over all chained frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from reports import script, write_json

from mvt_deploy.cli.options import say
from mvt_deploy.errors import UserError


def main(
    data: Annotated[Path, typer.Argument(help="Folder of training data.")],
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints to measure.")],
    hold_out: Annotated[list[str], typer.Option("--hold-out", help="Name or pattern of tracks (repeatable).")] = [],  # noqa: B006
    hold_out_file: Annotated[Path | None, typer.Option(help="Text file with one pattern per line.")] = None,
    seeds: Annotated[int, typer.Option(help="Number of draws of jitter and motion to average.")] = 3,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16: faster, for a first look.")] = False,
    fusion: Annotated[bool, typer.Option(help="Joint attention; without it, each image attends to itself.")] = True,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write as well.")] = None,
) -> None:
    """Measure checkpoints on held-back tracks."""
    import torch

    from mvt_deploy.network import load_checkpoint
    from mvt_deploy.training.discover import discover
    from mvt_deploy.training.validate import validate

    patterns = [*hold_out, *(hold_out_file.read_text(encoding="utf-8").split() if hold_out_file else [])]
    tracks = discover(data, patterns).held_back
    if not tracks:
        raise UserError(f"no track of {data} matches {', '.join(patterns)}: give names as in tracks.json.")
    figures = {}
    for path in checkpoints:
        say(str(path))
        model = load_checkpoint(path, fusion=fusion).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        runs = []
        for seed in range(seeds):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                runs.append(validate(model, tracks, seed))
            say(f"seed {seed}: windows {runs[-1].mean_windows:.4f}, chained {runs[-1].mean_chained:.4f}")
        by_track = {
            name: {key: _mean(getattr(run, key)[name] for run in runs) for key in ("windows", "chained")}
            for name in runs[0].windows
        }
        mean = {key: _mean(row[key] for row in by_track.values()) for key in ("windows", "chained")}
        mean["auroc"] = _mean(run.auroc for run in runs)
        figures[path.name] = {"mean": mean, "tracks": by_track}
    if output is not None:
        write_json(output, figures)
    print(json.dumps(figures, indent=1))


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 4)


if __name__ == "__main__":
    script(main)
