"""Commands keep ONNX Runtime from reporting its use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mvt_deploy.process import no_telemetry


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the folder is that of ONNX Runtime on Linux")
def test_a_command_leaves_no_number_for_the_device(tmp_path: Path) -> None:
    hidden = {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-m", "mvt_deploy", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "onnxruntime" in done.stdout  # it was imported
    assert not list(tmp_path.rglob("*onnxruntime*"))


def test_the_environment_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    no_telemetry()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
