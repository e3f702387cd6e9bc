"""Make ``benchmarks/results/lost.json``: what the lost policy gives, with targets in sight and hidden for a while.

python benchmarks/lost.py CLIPS [--model DIR] [--backend openvino:bf16]

Every clip is tracked as it is, and twice with a grey board in front of the place where the target is, for 12 and for 25
frames from 40 % of the clip on; besides, the clips that `mvt-deploy demo` renders, whose target drives behind a post.
Each with the published behaviour, with the policy holding the last size (`memory=1`), and with the policy as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import typer
from reports import RESULTS, script, write_json

from mvt_deploy.backends.registry import load
from mvt_deploy.bench import machine
from mvt_deploy.bench.candidates import parse
from mvt_deploy.bundle import DEFAULT, open_bundle
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.sequence import Sequence
from mvt_deploy.geometry import BGRImage, Box
from mvt_deploy.groundtruth import Boxes
from mvt_deploy.overlap import got10k_overlaps
from mvt_deploy.tracker import LostPolicy, Tracker
from mvt_deploy.video import demo

POLICIES = {"published": None, "last size": LostPolicy(memory=1), "default": LostPolicy()}
HIDDEN = (12, 25)  # frames
FROM = 0.4  # of the clip
BOARD = 1.3  # its sides over the target's
SEEDS = (7, 8, 9, 10)
DRAWS = 10_000

Shown = tuple[str, str, list[BGRImage], Boxes]
"""Kind, clip, frames and truth."""


def hide(frames: list[BGRImage], truth: Boxes, count: int, random: np.random.Generator) -> list[BGRImage]:
    """The frames with a board over the place where the target is in the middle of ``count`` frames."""
    begin = int(len(frames) * FROM)
    x, y, w, h = truth[min(begin + count // 2, len(frames) - 1)]
    height, width = frames[0].shape[:2]
    left, right = (int(np.clip(x + w / 2 + s * BOARD * w / 2, 0, width)) for s in (-1, 1))
    top, bottom = (int(np.clip(y + h / 2 + s * BOARD * h / 2, 0, height)) for s in (-1, 1))
    grain = random.integers(70, 131, (max(bottom - top, 1) // 8 + 1, max(right - left, 1) // 8 + 1, 1), np.uint8)
    board = np.asarray(cv2.resize(grain, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR))[..., None]
    hidden = [frame.copy() for frame in frames]
    for frame in hidden[begin : begin + count]:
        frame[top:bottom, left:right] = board
    return hidden


def suite(sequences: list[Sequence]) -> Iterator[Shown]:
    """Everything that is tracked, one at a time."""
    for number, sequence in enumerate(sequences):
        frames = [sequence.read(i) for i in range(len(sequence.frames))]
        yield "as it is", sequence.name, frames, sequence.truth
        for count in HIDDEN:
            random = np.random.default_rng([number, count])
            yield (
                f"hidden for {count} frames",
                sequence.name,
                hide(frames, sequence.truth, count, random),
                sequence.truth,
            )
    for seed in SEEDS:
        images, boxes = zip(*demo.frames(seed=seed), strict=True)
        yield "rendered, behind a post", f"demo seed {seed}", list(images), np.array([b.as_tuple() for b in boxes])


def follow(tracker: Tracker, frames: list[BGRImage], truth: Boxes) -> dict[str, float]:
    """AO, AO over the last fifth of the frames, and the share of frames in which the target counted as lost."""
    tracker.init(frames[0], Box(*truth[0]))
    tracks = [tracker.update_all(frame)[0] for frame in frames[1:]]
    boxes = np.array([truth[0], *(track.box for track in tracks)])
    overlaps = got10k_overlaps(boxes, truth, (frames[0].shape[1], frames[0].shape[0]))
    last = overlaps[-(len(overlaps) // 5) :]
    return {
        "ao": float(overlaps.mean()),
        "ao_at_the_end": float(last.mean()),
        "lost": float(np.mean([track.state == "lost" for track in tracks])),
    }


def interval(differences: npt.NDArray[np.float64]) -> list[float]:
    """95 % of the mean, by a bootstrap over clips."""
    random = np.random.default_rng(0)
    means = differences[random.integers(len(differences), size=(DRAWS, len(differences)))].mean(1)
    return [round(float(q), 3) for q in np.quantile(means, [0.025, 0.975])]


def summary(clips: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Means over the clips of a kind by policy, and what the default's AO gains on the others."""
    names = list(clips)
    figures = {
        policy: {
            key: round(float(np.mean([clips[n][policy][key] for n in names])), 3) for key in clips[names[0]][policy]
        }
        for policy in POLICIES
    }
    gains = {
        policy: interval(np.array([clips[n]["default"]["ao"] - clips[n][policy]["ao"] for n in names]))
        for policy in POLICIES
        if policy != "default"
    }
    return {"clips": len(names), "mean": figures, "ao_gained_by_default_95": gains, "by_clip": clips}


def main(
    clips: Annotated[Path, typer.Argument(help="A folder of clips.")],
    model: Annotated[Path, typer.Option("--model", help="The bundle.")] = DEFAULT,
    backend: Annotated[
        str, typer.Option("--backend", help="Backend and precision, as of bench --compare.")
    ] = "openvino:bf16",
) -> None:
    """Track with and without the lost policy."""
    ensure_model(model)
    sequences = [s for s in open_dataset(clips).sequences if s.labelled]
    candidate = parse(backend)
    trackers = {
        name: Tracker(load(model, candidate.backend, **candidate.options), policy) for name, policy in POLICIES.items()
    }
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for kind, name, frames, truth in suite(sequences):
        say(f"{kind}: {name}")
        found.setdefault(kind, {})[name] = {
            policy: {k: round(v, 4) for k, v in follow(tracker, frames, truth).items()}
            for policy, tracker in trackers.items()
        }
    report = {
        "made_by": "python benchmarks/lost.py",
        "machine": machine.describe(),
        "backend": candidate.name,
        "checkpoint": open_bundle(model).manifest.checkpoint.sha256,
        "kinds": {kind: summary(by_clip) for kind, by_clip in found.items()},
    }
    write_json(RESULTS / "lost.json", report)


if __name__ == "__main__":
    script(main)
