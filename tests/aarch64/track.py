"""Runs on the ARM side: says which versions are there, tracks the given frames, and prints the boxes as JSON.

python3 track.py BUNDLE FRAMES.npz PRECISION...
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version

import numpy as np

import mvt_deploy as mvt

bundle, frames_file, *precisions = sys.argv[1:]
with np.load(frames_file) as data:
    frames, box = data["frames"], data["box"]
paths = {}
for precision in precisions:
    tracker = mvt.Tracker(mvt.load(bundle, "ort", precision=precision, threads=1))
    tracker.init(frames[0], box)
    tracks = [tracker.update(frame) for frame in frames[1:]]
    paths[precision] = [[*track.box, track.score] for track in tracks]
packages = ("mvt-deploy", "numpy", "opencv-python", "onnxruntime", "typer", "rich")
print(
    json.dumps(
        {
            "machine": platform.machine(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
            "paths": paths,
        }
    )
)
