"""Export, eval, track and train, killed with SIGKILL at random moments; many more: ``python benchmarks/kills.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks the processes that it kills")
@pytest.mark.parametrize(("verb", "kills"), [("export", 8), ("eval", 6), ("track", 6), ("train", 1)])
def test_a_second_run_succeeds_after_every_kill(verb: str, kills: int, tmp_path: Path) -> None:
    """In a process of its own, since the script forks and this one may have threads."""
    call = [sys.executable, str(ROOT / "benchmarks" / "kills.py"), "--only", verb, "--kills", str(kills)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [*call, "--results", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "kills.json").read_text())
    assert report["verbs"][verb]["kills"] == kills
    assert report["two_exports_at_once"]["times"] == 2
