"""Runs on the ARM side: says which versions are there, follows a target in the given frames, and prints JSON.

python3 track.py BUNDLE FRAMES.npz CENTRES.json PRECISION...

``paths`` are the tracker's own boxes and scores. ``windows`` are the answers where each frame's search window is cut
around the box that CENTRES.json names for it, so that no difference of an earlier frame is in them; ``crops`` are
hashes of these windows. Without that file, ``paths`` alone are printed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

import mvt_deploy as mvt
from mvt_deploy.geometry import Box, clip, crop, crop_window, map_back

bundle, frames_file, centres_file, *precisions = sys.argv[1:]
with np.load(frames_file) as data:
    frames, box = data["frames"], data["box"]
height, width = frames[0].shape[:2]
centres = json.loads(Path(centres_file).read_text()) if Path(centres_file).exists() else {}
paths, windows, crops = {}, {}, {}
for precision in precisions:
    model = mvt.load(bundle, "ort", precision=precision, threads=1)
    tracker = mvt.Tracker(model)
    tracker.init(frames[0], box)
    tracks = [tracker.update(frame) for frame in frames[1:]]
    paths[precision] = [[*track.box, track.score] for track in tracks]
    if precision not in centres:
        continue
    spec = model.spec
    template = crop(frames[0], crop_window(Box(*box), spec.template_factor), spec.template_size)
    features = model.template(template[None])
    windows[precision], crops[precision] = [], [hashlib.sha256(template.tobytes()).hexdigest()]
    for frame, centre in zip(frames[1:], centres[precision], strict=True):
        window = crop_window(Box(*centre), spec.search_factor)
        pixels = crop(frame, window, spec.search_size)
        found = model.search(pixels[None], features)
        mapped = clip(map_back(found.box[0], Box(*centre), window.side), width, height)
        windows[precision].append([*mapped, float(found.score[0])])
        crops[precision].append(hashlib.sha256(pixels.tobytes()).hexdigest())
packages = ("mvt-deploy", "numpy", "opencv-python", "onnxruntime", "typer", "rich")
print(
    json.dumps(
        {
            "machine": platform.machine(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
            "paths": paths,
            "windows": windows,
            "crops": crops,
        }
    )
)
