"""``mvt-deploy doctor``: what it finds, and commands that can be copied from a narrow terminal."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mvt_deploy import __version__
from mvt_deploy.cli.main import app
from mvt_deploy.doctor import Finding


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Finding:
    """A feature that is not here, with a remedy longer than a terminal is wide, and nothing else."""
    remedy = (
        "pip install 'mvt-deploy[openvino]', or where that is not enough  pip install 'mvt-deploy[trt-rtx,metrics]'"
    )
    finding = Finding("backend openvino", False, "openvino: not installed", remedy)
    monkeypatch.setattr("mvt_deploy.doctor.CHECKS", (lambda: finding,))
    return finding


def test_remedies_are_never_cut(absent: Finding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    assert f"  backend openvino:  {absent.remedy}" in done.stdout.splitlines()
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if absent.remedy not in line)


def test_as_json(absent: Finding) -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    machine, package, found = json.loads(done.stdout)
    assert "cores" in machine["detail"]
    assert package == {"feature": "mvt-deploy", "works": True, "detail": __version__, "remedy": ""}
    assert found == {"feature": absent.feature, "works": False, "detail": absent.detail, "remedy": absent.remedy}
