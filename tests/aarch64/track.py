"""Runs on the ARM side: says which versions are there, follows a target in the given frames, and prints JSON.

python3 track.py BUNDLE FRAMES.npz PRECISION...

``crops`` are digests of crops of the first frame at windows of many sizes, inside the frame and beyond it. ``paths``
are the tracker's boxes and scores, by precision.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import version

import numpy as np

import mvt_deploy as mvt
from mvt_deploy.geometry import CropWindow, crop

bundle, frames_file, *precisions = sys.argv[1:]
with np.load(frames_file) as data:
    frames, box = data["frames"], data["box"]
crops = []
for side in (30, 77, 128, 255, 256, 257, 400, 512, 700):
    for corner in (-40, 25):
        pixels = crop(frames[0], CropWindow(corner, corner, side), 256)
        crops.append(hashlib.sha256(pixels.tobytes()).hexdigest())
paths: dict[str, list[list[float]]] = {}
for precision in precisions:
    tracker = mvt.Tracker(mvt.load(bundle, "ort", precision=precision, threads=1))
    tracker.init(frames[0], box)
    tracks = [tracker.update(frame) for frame in frames[1:]]
    paths[precision] = [[*track.box, track.score] for track in tracks]
packages = ("mvt-deploy", "numpy", "opencv-python", "onnxruntime", "typer", "rich")
versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
print(json.dumps({"machine": platform.machine(), "versions": versions, "crops": crops, "paths": paths}))
