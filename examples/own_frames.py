"""Track frames from anywhere: a source of your own, with the pipeline's threads, outputs and signals.

python examples/own_frames.py frames.npy 120,80,60,140     # an array uint8 [n, height, width, 3], RGB
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import mvt_deploy as mvt
from mvt_deploy.video.pipeline import run
from mvt_deploy.video.sinks import ResultsSink
from mvt_deploy.video.sources import Frame, Source


class ArraySource(Source):
    """Frames of an array, as BGR."""

    name = "frames"

    def __init__(self, pictures: np.ndarray, fps: float = 30.0) -> None:
        self.pictures, self.fps, self.count = pictures, fps, len(pictures)

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(self.pictures):
            yield Frame(index, index / self.fps, np.ascontiguousarray(picture[..., ::-1]))


source = ArraySource(np.load(sys.argv[1], mmap_mode="r"))
box = mvt.Box.of(map(float, sys.argv[2].split(",")))
outcome = run(source, mvt.Tracker(mvt.load()), [box], [ResultsSink(Path("boxes.txt"))])
print(f"{outcome.frames} frames, {outcome.lost} of them without the target, written to boxes.txt")
