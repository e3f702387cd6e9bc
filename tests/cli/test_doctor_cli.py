"""``mvt-deploy doctor`` on a narrow terminal."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from mvt_deploy.cli.main import app
from mvt_deploy.doctor import Finding


def test_what_one_must_copy_is_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "pip install 'mvt-deploy[openvino]' and then run a long command that does not fit into one line of 80"
    detail = "openvino: not installed [sic], " + "and-a-very-long-word-" * 5
    findings = [
        Finding("machine", True, "Linux"),
        Finding("backend openvino", False, detail, command),
    ]
    monkeypatch.setattr("mvt_deploy.doctor.examine", lambda: findings)
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    lines = done.stdout.splitlines()
    assert any(command in line for line in lines)
    table = [line for line in lines if "│" in line]
    assert max(map(len, table)) <= 80
    shown = "".join(line.split("│")[3].strip() for line in table)
    assert detail.replace(" ", "") in shown.replace(" ", "")
