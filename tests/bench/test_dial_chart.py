"""The chart of the dial: it is drawn from its results alone, and its front is the one that a reader would draw."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "dial-amd-epyc-2-cores.json"


def draw(picture: Path) -> str:
    call = [
        sys.executable,
        str(ROOT / "benchmarks" / "dial.py"),
        "--draw",
        "-o",
        str(RESULT),
        "--picture",
        str(picture),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(picture) in done.stdout
    return picture.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_chart_is_drawn_from_its_results(tmp_path: Path) -> None:
    svg = draw(tmp_path / "dial.svg")
    assert len(svg) < 60_000, "light enough for a front page"
    texts = [
        "".join(node.itertext()).strip() for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")
    ]
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    fps = {row["name"]: row["stages"]["network"]["fps_inverse_of_mean"] for row in found["speed"]["rows"]}
    aos = {name: row["ao"] for name, row in found["accuracy"]["rows"].items() if name in fps}
    front = [n for n in aos if not any(aos[o] >= aos[n] and fps[o] >= fps[n] and o != n for o in aos)]
    labels = sorted("{1} {2}".format(*name.split(":")).replace(" s", " ") for name in front)
    assert sorted(text for text in texts if re.fullmatch(r"(fp32|bf16|int8) (\d+|auto)", text)) == labels
    assert {"PyTorch", "published graph", "Pareto front"} <= set(texts)
