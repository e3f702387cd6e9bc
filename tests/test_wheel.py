"""The wheel: what `make wheel` builds tracks in any folder, at once, with the base dependencies alone."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest
from golden import ROOT

from mvt_deploy.video.demo import render

pytest.importorskip("hatchling")
pytestmark = pytest.mark.slow

RUN = """
import json, sys
place, missing = json.loads(sys.stdin.readline())

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Missing())
sys.path.insert(0, place)
from mvt_deploy.cli.main import run
run()
"""
"""Runs the command line of an unpacked wheel as if some modules were not installed."""


def requirements(metadata: str) -> set[str]:
    """Names of the distributions that a wheel's METADATA asks for without any extra."""
    lines = re.findall(r"^Requires-Dist: ([\w.-]+)(.*)$", metadata, re.MULTILINE)
    return {name for name, rest in lines if "extra ==" not in rest}


def other_modules(metadata: str) -> set[str]:
    """Installed top-level modules that the wheel's base dependencies and what these depend on do not bring."""
    waiting, seen = requirements(metadata), {"mvt-deploy"}
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in seen:
            seen.add(name)
            try:
                waiting |= requirements("\n".join(f"Requires-Dist: {r}" for r in distribution(name).requires or []))
            except ModuleNotFoundError:  # for another system or an older Python
                continue
    found = packages_distributions().items()
    return {module for module, names in found if not seen & {re.sub(r"[-_.]+", "-", name).lower() for name in names}}


@pytest.fixture(scope="module")
def wheel(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, with the tests' bundle trimmed as `make wheel` trims its own."""
    sources = tmp_path_factory.mktemp("sources")
    for name in ("mvt_deploy", "calibration"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    (sources / "models").mkdir()
    for name in (
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        "models/mvt.safetensors",
        "models/training_data.json",
    ):
        shutil.copy(ROOT / name, sources / name)
    shutil.copytree(bundle, sources / "build/bundle/mvt")
    runpy.run_path(str(ROOT / "models/make.py"))["trim"](sources / "build/bundle/mvt")
    code = "from hatchling.build import build_wheel; print(build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", code], cwd=sources, check=True, capture_output=True)
    (built,) = (sources / "dist").glob("*.whl")
    return built


def test_base_dependencies_track_in_an_empty_folder(wheel: Path, bundle: Path, tmp_path: Path) -> None:
    place, here, cache = tmp_path / "site", tmp_path / "here", tmp_path / "cache"
    here.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        missing = other_modules(archive.read(metadata).decode())
    assert {"torch", "onnx", "safetensors", "pytest"} < missing
    assert not {"numpy", "cv2", "onnxruntime", "typer", "mvt_deploy"} & missing
    render(here / "clip.mp4")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MVT_DEPLOY_CACHE": str(cache)}
    tracked = subprocess.run(
        [sys.executable, "-c", RUN, "track", "clip.mp4", "--precision", "int8", "--json"],
        input=json.dumps([str(place), sorted(missing)]) + "\n",
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert tracked.returncode == 0, tracked.stderr
    paths = []
    options = ["--model", str(bundle), "--precision", "int8", "--json", "-o", str(tmp_path / "wanted.mp4")]
    wanted = subprocess.run(
        [sys.executable, "-m", "mvt_deploy", "track", str(here / "clip.mp4"), *options],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    for lines in (tracked.stdout.splitlines(), wanted.stdout.splitlines()):
        assert len(lines) == 240
        paths.append([json.loads(line)["targets"][0]["box"] for line in lines])
    np.testing.assert_allclose(paths[0], paths[1], atol=0.01)  # frame by frame what the clone's own bundle gives
    ao = re.search(r"AO (\d\.\d+)", tracked.stderr)
    assert ao
    assert float(ao[1]) > 0.6, tracked.stderr
    assert {path.name for path in here.iterdir()} == {"clip.mp4", "clip.txt", "clip.tracked.mp4"}
    (copied,) = cache.glob("*/mvt")
    assert (copied / "checkpoint.safetensors").read_bytes() == (ROOT / "models/mvt.safetensors").read_bytes()


def test_a_bundle_of_other_weights_is_refused(wheel: Path) -> None:
    sources = wheel.parent.parent
    checkpoint = sources / "models/mvt.safetensors"
    sound = checkpoint.read_bytes()
    checkpoint.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    code = "from hatchling.build import build_wheel; build_wheel('other')"
    done = subprocess.run([sys.executable, "-c", code], cwd=sources, capture_output=True, text=True)
    checkpoint.write_bytes(sound)
    assert done.returncode != 0
    assert "was not made from models/mvt.safetensors" in done.stderr.replace("\\", "/")
    assert not list((sources / "other").glob("*.whl"))
