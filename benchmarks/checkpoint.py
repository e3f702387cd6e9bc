"""The model card's table: checkpoints on clips, one run from the first frame, published cropping and decoding.

python benchmarks/checkpoint.py CLIPS CHECKPOINT [CHECKPOINT ...] [--output FILE]

Prints a table in Markdown: AO by GOT-10k's rule with a 95 % interval, SR0.5 and the share of frames with IoU 0, and the
AUROC of the score as a sign that the target is tracked (IoU of at least 0.2), over all frames of all clips. The
intervals of a clip come from a moving-block bootstrap over its frames (blocks of 10: neighbouring frames are alike),
those of the mean from a bootstrap over clips.
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
from mvt_deploy.overlap import got10k_overlaps
from mvt_deploy.tracker import Tracker
from mvt_deploy.training.validate import LOST_IOU, FrameResults, auroc

Floats = npt.NDArray[np.float64]
BLOCK, DRAWS = 10, 2000


def track(checkpoint: Path, sequence: Sequence, threads: int | None) -> FrameResults:
    """Overlap and score of every frame that counts, without the lost policy."""
    from mvt_deploy.backends.torch import TorchBackend

    tracker = Tracker(TorchBackend(checkpoint, threads=threads), lost=None)
    tracker.init(sequence.read(0), tuple(sequence.truth[0]))
    boxes, scores = np.zeros((len(sequence.frames), 4)), np.zeros(len(sequence.frames))
    for index in range(1, len(sequence.frames)):
        found = tracker.update(sequence.read(index))
        boxes[index], scores[index] = tuple(found.box), found.score
    present = ~np.isnan(sequence.truth[1:]).any(axis=1)
    return FrameResults(got10k_overlaps(boxes, sequence.truth, sequence.frame_size()), scores[1:][present])


def block_interval(overlaps: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean over frames."""
    length = min(BLOCK, len(overlaps))
    blocks = np.lib.stride_tricks.sliding_window_view(overlaps, length)
    drawn = rng.integers(len(blocks), size=(DRAWS, -(-len(overlaps) // length)))
    means = blocks[drawn].reshape(DRAWS, -1)[:, : len(overlaps)].mean(1)
    return tuple(np.quantile(means, [0.025, 0.975]))


def figures(by_clip: dict[str, FrameResults]) -> dict[str, dict[str, float]]:
    """AO with its interval, SR0.5 and the share of frames with IoU 0: of every clip, and the mean of the clips."""
    rng = np.random.default_rng(0)
    rows = {}
    for name, overlaps in ((name, results.iou) for name, results in by_clip.items()):
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


def score_auroc(by_clip: dict[str, FrameResults]) -> float | None:
    """AUROC of the score over all frames; None where the target was never lost."""
    score, overlap = (np.concatenate([getattr(r, key) for r in by_clip.values()]) for key in ("score", "iou"))
    found = auroc(score, overlap >= LOST_IOU)
    return None if np.isnan(found) else round(found, 4)


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
        by_clip = {s.name: track(checkpoint, s, threads) for s in dataset.sequences if s.labelled}
        rows, found = figures(by_clip), score_auroc(by_clip)
        everything[checkpoint.name] = rows | {"score": {"auroc": found}}
        print(
            f"{checkpoint.name}\n\n{table(rows)}\n\nAUROC of the score against IoU < {LOST_IOU}: {found}\n", flush=True
        )
    if output is not None:
        write_json(output, everything)


if __name__ == "__main__":
    script(main)
