"""``track`` as a service: metrics and health over HTTP, messages as JSON, an orderly end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from mvt_deploy.video import demo

COMMAND = [sys.executable, "-c", "from mvt_deploy.cli.main import run; run()"]


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A folder of one picture, 5000 times."""
    folder = tmp_path / "long"
    folder.mkdir()
    image, _ = next(demo.frames(2))
    cv2.imwrite(str(folder / "0000.jpg"), image)
    for i in range(1, 5000):
        (folder / f"{i:04}.jpg").hardlink_to(folder / "0000.jpg")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_run_is_scraped_and_stopped(long: Path, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    options = ["--metrics", "0", "--log-json", "--no-video", "--results", "r.txt", "--init-box", "100,200,120,90"]
    command = [*COMMAND, "track", str(long), "--model", str(bundle), *options]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        while "url" not in (line := json.loads(process.stderr.readline())):
            lines.append(line)
        frames, page = 0, ""
        until = time.monotonic() + 60
        while frames < 10 and time.monotonic() < until:
            page = urlopen(f"{line['url']}/metrics", timeout=20).read().decode()
            frames = int(float(page.split("\nmvt_frames_total ")[1].split()[0]))
        assert json.load(urlopen(f"{line['url']}/healthz", timeout=20))["healthy"]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert frames >= 10
    assert float(page.split("\nmvt_frame_seconds_sum ")[1].split()[0]) > 0
    assert 'backend="ort cpu fp32"' in page
    assert process.returncode == 128 + signal.SIGTERM
    lines += [json.loads(text) for text in errors.splitlines()]
    assert lines[-1]["level"] == "error"
    assert lines[-1]["error"] == "Interrupted"
    summary = next(entry for entry in lines if "fps" in entry)
    assert summary["frames"] == len(np.loadtxt(tmp_path / "r.txt", delimiter=",")) >= frames
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in lines)


def test_a_mistake_in_json(bundle: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "track", "absent.mp4", "--model", str(bundle), "--log-json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"] == "SourceError"
