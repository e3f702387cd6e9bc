"""The same bundle, backend, threads and clip give the same bytes, in two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = [
    ("ort", "fp32", 2),
    ("ort", "fp16", 2),
    ("openvino", "fp32", 2),
    ("openvino", "bf16", 2),
    ("torch", "fp32", 2),
]

_TRACK = """
import json, sys
import numpy as np
from mvt_deploy import Tracker, UserError, load
from mvt_deploy.video import demo
images, boxes = zip(*demo.frames(10))
x, y, w, h = boxes[0].as_tuple()
found = {}
for name, precision, threads in json.loads(sys.argv[2]):
    try:
        model = load(sys.argv[1], name, precision=precision, threads=threads)
    except UserError as error:
        found[f"{name}-{precision}"] = f"not here: {error}"
        continue
    tracker = Tracker(model)
    tracker.init(images[0], [(x, y, w, h), (x + 40, y, w, h)])
    rows = [[*t.box.as_tuple(), t.score] for image in images[1:] for t in tracker.update(image)]
    found[f"{name}-{precision}"] = np.array(rows, np.float64).tobytes().hex()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def twice(bundle: Path) -> list[dict[str, str]]:
    """The bits of all boxes and scores by backend, from two processes one after the other."""
    command = [sys.executable, "-c", _TRACK, str(bundle), json.dumps(KINDS)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2)]
    return [json.loads(done.stdout) for done in runs]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["-".join(kind[:2]) for kind in KINDS])
def test_the_same_bytes_twice(twice: list[dict[str, str]], kind: str) -> None:
    """Ten frames, two targets; every bit of every box and score."""
    first, second = (found[kind] for found in twice)
    if first.startswith("not here"):
        pytest.skip(first)
    assert len(first) == 9 * 2 * 5 * 16
    assert first == second
