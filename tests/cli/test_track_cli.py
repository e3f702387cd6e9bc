"""The commands as a user types them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mvt_deploy.video import demo

COMMAND = [sys.executable, "-c", "from mvt_deploy.cli.main import run; run()"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames of the demo with ground truth."""
    folder = tmp_path_factory.mktemp("clip")
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (demo.WIDTH, demo.HEIGHT))
    lines = []
    for i, (image, box) in enumerate(demo.frames()):
        if i == 40:
            break
        writer.write(image)
        lines.append(",".join(map(str, box.as_tuple())))
    writer.release()
    (folder / "clip.txt").write_text("\n".join(lines))
    return folder / "clip.avi"


def mvt(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One clear sentence, exit code 2, no traceback."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: "), done.stderr
    for word in words:
        assert word in last


@pytest.mark.slow
def test_a_video_with_ground_truth(clip: Path, bundle: Path, tmp_path: Path) -> None:
    done = mvt("track", clip, "--model", bundle, "--results", "out/r.txt", "--json", "-o", "out/v.mp4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["frame"] for r in rows] == list(range(40))
    boxes = np.loadtxt(tmp_path / "out" / "r.txt", delimiter=",")
    assert boxes.shape == (40, 4)
    assert np.allclose(boxes[7], rows[7]["targets"][0]["box"])
    ao = float(done.stderr.split("AO ")[1].split()[0])
    assert ao > 0.6
    capture = cv2.VideoCapture(str(tmp_path / "out" / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 40
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["r.txt", "r_time.txt", "v.mp4"]


@pytest.mark.slow
def test_default_video_and_two_targets(clip: Path, bundle: Path, tmp_path: Path) -> None:
    boxes = ["--init-box", "100,200,120,90", "--init-box", "500,100,80,80"]
    done = mvt("track", clip, "--model", bundle, *boxes, "--results", "r.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {
        "clip.tracked.mp4", "r_1.txt", "r_2.txt", "r_1_time.txt", "r_2_time.txt",
    }  # fmt: skip


@pytest.mark.slow
def test_bad_input(clip: Path, bundle: Path, tmp_path: Path) -> None:
    model = ("--model", bundle)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "boxes_1.txt").write_text("100,200,120,90\n" * 40)
    refused(mvt("track", "boxes_1.txt", *model, cwd=tmp_path), "'boxes_1.txt' is text, not a video")
    refused(mvt("track", clip, *model, "-o", ".", cwd=tmp_path), "cannot write a video to '.'")
    (tmp_path / "boxes_1.txt").unlink()
    refused(mvt("track", clip, *model, "--search-size", "wide", cwd=tmp_path), "a side in pixels, such as 256, or auto")
    refused(mvt("track", clip, *model, "--search-size", "192", cwd=tmp_path), "192", "256")
    refused(mvt("track", "absent.mp4", *model, cwd=tmp_path), "absent.mp4")
    refused(mvt("track", "text.mp4", *model, cwd=tmp_path), "text.mp4")
    refused(mvt("track", "empty", *model, cwd=tmp_path), "empty")
    refused(mvt("track", clip, *model, "--init-box", "5000,0,9,9", cwd=tmp_path), "outside the 960x540 frame")
    refused(mvt("track", clip, *model, "--init-box", "1,2,0,9", cwd=tmp_path), "no size")
    refused(mvt("track", clip, *model, "--init-box", "one", cwd=tmp_path), "four numbers")
    refused(mvt("track", clip, *model, "-o", "text.mp4/x.mp4", cwd=tmp_path), "cannot write")
    refused(mvt("track", clip, *model, "--backend", "tpu", cwd=tmp_path), "ort, openvino, trt, torch")
    refused(mvt("track", clip, "--model", "nowhere", cwd=tmp_path), "mvt-deploy export -o nowhere")
    refused(mvt("track", clip, *model, "--select", cwd=tmp_path), "--init-box")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "text.mp4"]  # nothing half-written


def test_a_grid_for_those_without_a_screen(clip: Path, tmp_path: Path) -> None:
    done = mvt("track", clip, "--show-grid", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "clip.grid.png\n"), done.stderr
    grid = np.asarray(cv2.imread(str(tmp_path / "clip.grid.png")))
    assert grid.shape == (demo.HEIGHT, demo.WIDTH, 3)
    assert "--init-box" in done.stderr
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a shell's pipe")
def test_a_reader_that_wants_one_line_gets_it_and_the_file_is_finished(
    clip: Path, bundle: Path, tmp_path: Path
) -> None:
    command = [*COMMAND, "track", str(clip), "--model", str(bundle), "--json", "--no-video", "--results", "r.txt"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(60) == 0, errors
    assert "error" not in errors
    assert len(np.loadtxt(tmp_path / "r.txt", delimiter=",")) == 40


@pytest.mark.slow
def test_the_tracker_chooses_how_far_to_look(clip: Path, bundle: Path, tmp_path: Path) -> None:
    """With PyTorch, which takes every side from any bundle's checkpoint."""
    options = ["--model", bundle, "--backend", "torch", "--no-video"]
    done = mvt("track", clip, *options, "--search", "auto", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stderr.split("AO ")[1].split()[0]) > 0.6
    shares = dict(re.findall(r"(\d+) in (\d+) %", done.stderr.split("search size: ")[1]))
    assert int(shares["192"]) > 50
    done = mvt("track", clip, *options, "--search-size", 192, cwd=tmp_path)
    assert "search size" not in done.stderr
    assert float(done.stderr.split("AO ")[1].split()[0]) > 0.6


@pytest.mark.slow
def test_a_damaged_bundle(clip: Path, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    shutil.copy(copy / "template.onnx", copy / "search.ort.onnx")
    refused(mvt("track", clip, "--model", copy, cwd=tmp_path), "search.ort.onnx", "swapped")
    refused(mvt("export", tmp_path / "nothing.pth", "-o", tmp_path / "b", cwd=tmp_path), "nothing.pth")
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_video_that_ends_early_keeps_its_frames(clip: Path, bundle: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    done = mvt(
        "track", "cut.avi", "--model", bundle, "--init-box", "100,200,120,90", "--results", "r.txt", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "ends early" in done.stderr
    kept = len(np.loadtxt(tmp_path / "r.txt", delimiter=","))
    assert 10 < kept < 40
    assert cv2.VideoCapture(str(tmp_path / "cut.tracked.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == kept


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_keeps_what_was_tracked(clip: Path, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    image = cv2.VideoCapture(str(clip)).read()[1]
    cv2.imwrite(str(folder / "0000.jpg"), image)
    for i in range(1, 3000):
        (folder / f"{i:04}.jpg").hardlink_to(folder / "0000.jpg")
    command = [*COMMAND, "track", str(folder), "--model", str(bundle), "--init-box", "100,200,120,90", "--json"]
    with subprocess.Popen(
        [*command, "--results", "r.txt"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert process.returncode == 130
    assert "stopped by SIGINT" in errors
    kept = len(np.loadtxt(tmp_path / "r.txt", delimiter=","))
    assert 20 <= kept < 3000
    assert cv2.VideoCapture(str(tmp_path / "long.tracked.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == kept


@pytest.mark.slow
def test_doctor(tmp_path: Path) -> None:
    done = mvt("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    findings = {f["feature"]: f for f in json.loads(done.stdout)}
    assert findings["backend ort"]["works"]
    assert not findings["default bundle"]["works"]
    assert findings["default bundle"]["remedy"] == "mvt-deploy export"
    assert "feature" in mvt("doctor", cwd=tmp_path).stdout


def test_help_names_every_verb(tmp_path: Path) -> None:
    done = mvt("--help", cwd=tmp_path)
    for verb in ("export", "track", "bench", "doctor", "demo"):
        assert verb in done.stdout


@pytest.mark.slow
def test_first_use_exports_the_default_once(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVT_DEPLOY_CACHE", str(tmp_path / "cache"))
    done = mvt("track", clip, "--no-video", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "exporting the default checkpoint once" in done.stderr
    assert len(list((tmp_path / "cache").glob("*/mvt/manifest.json"))) == 1
    assert not (tmp_path / "models").exists()  # nothing is written into the current folder
    assert "exporting" not in mvt("track", clip, "--no-video", cwd=tmp_path).stderr
