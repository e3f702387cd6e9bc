"""The script that compares the page's paths with Python's: what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(ROOT / "benchmarks" / "web_paths.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_paths_in_node_are_those_of_native_onnx_runtime(
    node: str, bundle: Path, web_runtime: Path, tmp_path: Path
) -> None:
    done = run(
        "--rendered", 7, "--precision", "fp16-weights", "--frames", 4,
        "--model", bundle, "--runtime", web_runtime, "--results", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("web-paths-*.json")
    assert done.stdout == f"{file}\n"
    report = json.loads(file.read_text())
    assert report["frames"] == {"rendered-7": 4}
    assert report["machine"]["versions"]["onnxruntime"]
    row = report["rows"]["fp16-weights"]
    figures = row["clips"]["rendered-7"]
    assert figures["iou_web_with_native"] > 0.999  # both compute in fp32
    assert 0.98 < figures["iou_web_with_native_fp32"] < 1  # whose weights are not rounded
    assert figures["ao_web"] == pytest.approx(figures["ao_native"], abs=1e-3)
    assert 0.7 < figures["ao_web"] < 1
    assert row["mean"] == figures


def test_what_cannot_be_compared_is_said_before_anything_is_written(node: str, tmp_path: Path) -> None:
    for arguments, message in (
        (("--precision", "bf16"), "there is no precision 'bf16' for browsers: choose one of fp16-weights"),
        (("--clip", "dog"), "--clip names a clip of a folder: give the folder too."),
    ):
        done = run(*arguments, "--results", tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
    assert not list(tmp_path.iterdir())
