"""The model card's table: checkpoints on clips, one run from the first frame, published cropping and decoding.

python benchmarks/checkpoint.py CLIPS CHECKPOINT [CHECKPOINT ...] [--output FILE]

Prints a table in Markdown: AO with a 95 % interval, SR0.5 and the share of frames with IoU 0. The intervals of a clip
come from a moving-block bootstrap over its frames (blocks of 10: neighbouring frames are alike), those of the mean from
a bootstrap over clips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from reports import script, write_json

from mvt_deploy.cli.options import say
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.sequence import Sequence
from mvt_deploy.geometry import iou
from mvt_deploy.tracker import Tracker

Floats = npt.NDArray[np.float64]
BLOCK, DRAWS = 10, 2000


def track(checkpoint: Path, sequence: Sequence, threads: int | None) -> Floats:
    """IoU of every frame after the first."""
    from mvt_deploy.backends.torch import TorchBackend

    tracker = Tracker(TorchBackend(checkpoint, threads=threads), lost=None)
    tracker.init(sequence.read(0), sequence.truth[0])
    overlaps = []
    for index in range(1, len(sequence.frames)):
        found = tracker.update_all(sequence.read(index))[0]
        if not np.isnan(sequence.truth[index]).any():
            overlaps.append(float(iou(found.box.as_tuple(), sequence.truth[index])))
    return np.array(overlaps)


def block_interval(overlaps: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean over frames."""
    length = min(BLOCK, len(overlaps))
    blocks = np.lib.stride_tricks.sliding_window_view(overlaps, length)
    drawn = rng.integers(len(blocks), size=(DRAWS, -(-len(overlaps) // length)))
    means = blocks[drawn].reshape(DRAWS, -1)[:, : len(overlaps)].mean(1)
    return tuple(np.quantile(means, [0.025, 0.975]))


def figures(by_clip: dict[str, Floats]) -> dict[str, dict[str, float]]:
    """AO with its interval, SR0.5 and the share of frames with IoU 0; by clip and for the mean of the clips."""
    rng = np.random.default_rng(0)
    rows = {}
    for name, overlaps in by_clip.items():
        low, high = block_interval(overlaps, rng)
        rows[name] = {
            "frames": len(overlaps),
            "ao": float(overlaps.mean()),
            "low": low,
            "high": high,
            "sr50": float((overlaps > 0.5).mean()),
            "lost": float((overlaps == 0).mean()),
        }
    means = np.array([row["ao"] for row in rows.values()])
    low, high = np.quantile(means[rng.integers(len(means), size=(DRAWS, len(means)))].mean(1), [0.025, 0.975])
    rows["mean of the clips"] = {
        "frames": sum(row["frames"] for row in rows.values()),
        "ao": float(means.mean()),
        "low": float(low),
        "high": float(high),
        **{key: float(np.mean([row[key] for row in rows.values()])) for key in ("sr50", "lost")},
    }
    return {name: {key: round(float(value), 4) for key, value in row.items()} for name, row in rows.items()}


def table(rows: dict[str, dict[str, float]]) -> str:
    """The figures in Markdown."""
    lines = ["| clip | frames | AO | 95 % interval | SR0.5 | share of frames with IoU 0 |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row['frames']:.0f} | {row['ao']:.3f} | {row['low']:.3f} … {row['high']:.3f} "
        f"| {row['sr50']:.3f} | {row['lost']:.3f} |"
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def main(
    clips: Annotated[Path, typer.Argument(help="A folder of clips.")],
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints to measure.")],
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write as well.")] = None,
) -> None:
    """Measure checkpoints on clips."""
    dataset = open_dataset(clips)
    everything = {}
    for checkpoint in checkpoints:
        say(str(checkpoint))
        rows = figures({s.name: track(checkpoint, s, threads) for s in dataset.sequences if s.labelled})
        everything[checkpoint.name] = rows
        print(f"{checkpoint.name}\n\n{table(rows)}\n", flush=True)
    if output is not None:
        write_json(output, everything)


if __name__ == "__main__":
    script(main)
