"""build, package and the trt backend from the command line, on a machine without a GPU."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mvt_deploy.backends.registry import load
from mvt_deploy.backends.tensorrt.device import open_device
from mvt_deploy.bundle import open_bundle
from mvt_deploy.cli.main import app
from mvt_deploy.errors import BackendError, MissingExtra, UserError

runner = CliRunner()


@pytest.fixture
def fresh(bundle: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "mvt"
    shutil.copytree(bundle, folder)
    return folder


@pytest.fixture
def no_gpu() -> None:
    try:
        open_device().close()
    except UserError:
        return
    pytest.skip("this machine has a GPU")


@pytest.mark.slow
def test_build(fresh: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[trt-rtx]'")
    arguments = ["build", "--fp16", "--max-batch", "1", "--flavour", "tensorrt_rtx", "--model", str(fresh)]
    done = runner.invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    paths = [Path(line) for line in done.stdout.split()]
    assert [p.name for p in paths] == ["template.fp16.engine", "search.fp16.engine"]
    assert all(p.is_file() and p.with_suffix(".json").is_file() for p in paths)
    assert "any GPU (8.0, 8.6, 8.9" in done.stderr
    open_bundle(fresh).verify()


def test_build_with_nothing_to_build_with(fresh: Path, monkeypatch: pytest.MonkeyPatch, no_gpu: None) -> None:
    monkeypatch.setattr("mvt_deploy.backends.tensorrt.flavour.installed_flavours", list)
    with pytest.raises(MissingExtra, match=r"building engines needs the package 'tensorrt_rtx'.*mvt-deploy\[trt-rtx\]"):
        runner.invoke(app, ["build", "--model", str(fresh)], catch_exceptions=False)


def test_full_tensorrt_that_is_not_here(fresh: Path) -> None:
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("full TensorRT is installed here")
    with pytest.raises(MissingExtra, match=r"mvt-deploy\[trt\]"):
        runner.invoke(app, ["build", "--flavour", "tensorrt", "--model", str(fresh)], catch_exceptions=False)


def test_package(fresh: Path, tmp_path: Path) -> None:
    arguments = ["package", "--triton", str(tmp_path / "repository"), "--model", str(fresh), "--precision", "fp16"]
    done = runner.invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert [Path(line).name for line in done.stdout.split()] == ["mvt_template", "mvt_search"]
    assert "tritonserver --model-repository=" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["track", "x.mp4", "--backend", "trt"], "GPU"),
        (["track", "x.mp4", "--backend", "torch", "--device", "cuda"], "GPU"),
    ],
)
def test_without_a_gpu_one_sentence_and_2(
    fresh: Path, tmp_path: Path, no_gpu: None, arguments: list[str], says: str
) -> None:
    import cv2
    import numpy as np

    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), np.zeros((64, 64, 3), np.uint8))
    command = [
        sys.executable,
        "-m",
        "mvt_deploy.cli.main",
        *arguments,
        "--model",
        str(fresh),
        "--init-box",
        "9,9,20,20",
    ]
    command[command.index("x.mp4")] = str(tmp_path)
    code = "import sys; from mvt_deploy.cli.main import run; sys.argv[0] = 'mvt-deploy'; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, *command[3:], "--no-video"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in line
    assert "Traceback" not in done.stderr


def test_devices_by_name(bundle: Path, no_gpu: None) -> None:
    with pytest.raises(BackendError, match="no device 'tpu'"):
        load(bundle, "torch", device="tpu")
    with pytest.raises(BackendError, match="belongs to the torch backend"):
        load(bundle, "ort", device="cuda")
    with pytest.raises(BackendError, match="GPU"):
        load(bundle, "torch", device="cuda", precision="fp16")
    with pytest.raises(UserError, match="GPU"):
        load(bundle, "trt")
