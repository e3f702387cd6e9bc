"""Runs on the ARM side: says which versions are there, follows a target in the given frames, and prints JSON.

python3 track.py BUNDLE FRAMES.npz CENTRES.json CROPS.npz PRECISION...

``paths`` are the tracker's own boxes and scores. ``windows`` are the answers to the crops in CROPS.npz, around the
boxes that CENTRES.json names for the frames, so that neither an earlier frame nor the cutting of a crop makes a
difference; ``crops`` say by how many grey levels this machine's own crops of these windows differ from them. Where
there is no CROPS.npz, it is written. Without CENTRES.json, ``paths`` alone are printed.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

import mvt_deploy as mvt
from mvt_deploy.geometry import Box, clip, crop, crop_window, map_back

bundle, frames_file, centres_file, crops_file, *precisions = sys.argv[1:]
with np.load(frames_file) as data:
    frames, box = data["frames"], data["box"]
height, width = frames[0].shape[:2]
centres = json.loads(Path(centres_file).read_text()) if Path(centres_file).exists() else {}
given = dict(np.load(crops_file)) if Path(crops_file).exists() else {}
paths: dict[str, list[list[float]]] = {}
windows: dict[str, list[list[float]]] = {}
crops: dict[str, list[int]] = {}
cut: dict[str, np.ndarray] = {}
for precision in precisions:
    model = mvt.load(bundle, "ort", precision=precision, threads=1)
    tracker = mvt.Tracker(model)
    tracker.init(frames[0], box)
    tracks = [tracker.update(frame) for frame in frames[1:]]
    paths[precision] = [[*track.box, track.score] for track in tracks]
    if precision not in centres:
        continue
    spec = model.spec
    own = [crop(frames[0], crop_window(Box(*box), spec.template_factor), spec.template_size)]
    places = [crop_window(Box(*centre), spec.search_factor) for centre in centres[precision]]
    own += [crop(frame, window, spec.search_size) for frame, window in zip(frames[1:], places, strict=True)]
    cut.update({f"{precision}-{i}": pixels for i, pixels in enumerate(own)})
    used = [given.get(f"{precision}-{i}", pixels) for i, pixels in enumerate(own)]
    crops[precision] = [int(np.abs(a.astype(int) - b).max()) for a, b in zip(own, used, strict=True)]
    features = model.template(used[0][None])
    windows[precision] = []
    for pixels, centre, window in zip(used[1:], centres[precision], places, strict=True):
        found = model.search(pixels[None], features)
        mapped = clip(map_back(found.box[0], Box(*centre), window.side), width, height)
        windows[precision].append([*mapped, float(found.score[0])])
if cut and not given:
    np.savez(crops_file, **cut)  # type: ignore[arg-type]  # names are no options
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
