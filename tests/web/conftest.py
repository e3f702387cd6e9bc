"""What the tests of the page share: Node.js, and packages of the npm registry where it can be reached."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "mvt_deploy" / "web" / "page"

RunModule = Callable[[str], Any]


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js 20 or newer."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("Node.js is not installed")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"Node.js is {version.strip()}; the tests need 20 or newer")
    return path


@pytest.fixture
def run_module(node: str, tmp_path: Path) -> RunModule:
    """Run the text of an ES module, in which ``PAGE`` is the page's folder; returns the JSON it prints."""

    def run(text: str) -> Any:
        script = tmp_path / "script.mjs"
        script.write_text(text.replace("PAGE", PAGE.as_uri()), encoding="utf-8")
        done = subprocess.run([node, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
