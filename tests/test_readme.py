"""The Python sample of README.md is what a type checker and a reader may rely on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"

_BEFORE = """
import cv2

capture = cv2.VideoCapture("video.mp4")
_, frame = capture.read()
_, next_frame = capture.read()
x, y, w, h = 120.0, 80.0, 60.0, 140.0
"""
_AFTER = """
tracker.init(frame, [(120, 80, 60, 140), mvt.Box(1, 2, 30, 40)])
for track in tracker.update_all(next_frame):
    corners: tuple[float, float, float, float] = track.box.xyxy
    cv2.rectangle(frame, track.box.rounded, (0, 255, 0), 2)
    reveal_type(track.box.x)
"""


@pytest.mark.slow
def test_the_python_sample_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    section = README.read_text(encoding="utf-8").split("## In Python")[1]
    sample = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert sample is not None
    (tmp_path / "sample.py").write_text(_BEFORE + sample[1] + _AFTER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", str(README.parent / "pyproject.toml"), "sample.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(README.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Revealed type is "float"' in done.stdout.replace("builtins.", "")
