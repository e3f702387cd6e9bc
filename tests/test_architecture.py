"""Who may import whom, and what an edge device can run without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_import_arrows() -> None:
    pytest.importorskip("importlinter")
    # In a process of its own: it configures logging and thereby disables every logger that is there already.
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["mvt_deploy", "mvt_deploy.cli.main", "mvt_deploy.backends.ort"])
def test_no_heavy_import_unless_asked_for(module: str) -> None:
    heavy = [
        "torch",
        "onnx",
        "onnxsim",
        "safetensors",
        "tensorrt",
        "tensorrt_rtx",
        "cuda",
        "pycuda",
        "matplotlib",
        "ray",
        "prometheus_client",
    ]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_pre_commit_uses_the_tested_versions() -> None:
    tested = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    pinned = re.findall(r"\[([\w-]+)==([\d.]+)\]", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {name for name, _ in pinned} == {"ruff", "import-linter"}
    assert all(tested[name] == version for name, version in pinned)


def test_the_index_names_every_benchmark_script() -> None:
    index = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\((\w+\.py)\)", index))
    assert named == {path.name for path in (ROOT / "benchmarks").glob("*.py")}
