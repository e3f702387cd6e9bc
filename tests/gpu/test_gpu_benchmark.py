"""The GPU benchmark: one sentence without a GPU; its rows, on whatever backend there is, hold what they say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mvt_deploy import load
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import BackendError

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_benchmark"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_without_a_gpu(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, SCRIPT, "-o", tmp_path / "report.json"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "GPU" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "report.json").exists()


@pytest.mark.slow
def test_a_row(script: ModuleType, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "BATCHES", (1, 2))
    monkeypatch.setattr(script, "MIN_ROUNDS", 3)
    pairs = photograph_pairs(4)
    expected = script.expected_results(pairs)
    limits = script.Limits(100.0, {"fp32": 1.0, "fp16": 2.0}, 10**9, 5 * 10**6, 10**6)
    row = script.measure("ort", "fp32", lambda: load(bundle), pairs, expected, limits, 0.05)
    assert row.skipped == ""
    assert row.parity["box_px_max"] < 0.01
    assert row.parity["pairs"] == 4
    assert row.network_ms["p50"] <= row.network_ms["p95"] <= row.network_ms["max"]
    assert row.tracker_ms["p50"] > 0
    assert set(row.targets_per_second) == {"1", "2"}
    # at batch 2 the arithmetic, 2 GFLOP at 1 TFLOP/s, is the limit
    assert limits.floor("fp32", 2) == pytest.approx(2e-3)
    assert row.share_of_limit["2"] == pytest.approx(1e-3 * row.targets_per_second["2"], rel=0.01)

    def refuses() -> None:
        raise BackendError("not here")

    assert script.measure("x", "fp16", refuses, pairs, expected, limits, 0.05).skipped == "not here"
    assert "left out (not here)" in script.line(script.measure("x", "fp16", refuses, pairs, expected, limits, 0.05))


@pytest.mark.slow
def test_what_a_search_needs(script: ModuleType) -> None:
    flops, weights, moved = script.needs()
    assert weights == 5_480_405
    assert 2e9 < flops < 2e10
    assert moved == 256 * 256 * 3 + 2 * (96 * 16 * 16 + 4 * 64 * 144) + 20


@pytest.mark.slow
def test_a_rehearsal_goes_through_every_row(bundle: Path, tmp_path: Path) -> None:
    """Without a GPU: the rows of the CPU are measured, and each of the others says why it is not."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    report = tmp_path / "report.json"
    command: list[Any] = [sys.executable, SCRIPT, "--rehearse", "--model", bundle, "-o", report, "--seconds", "0.02"]
    command += ["--limit", "3000"]  # rows of a busy machine are slow
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(report)
    rows = {row["label"]: row for row in json.loads(report.read_text())["rows"]}
    measured = {label for label, row in rows.items() if not row["skipped"]}
    assert measured == {"torch cpu fp32", "ort cpu fp32"}
    for label in measured:
        assert rows[label]["parity"]["box_px_max"] < 0.01
        assert {"p50", "p95", "p99"} <= set(rows[label]["network_ms"]) & set(rows[label]["tracker_ms"])
        assert set(rows[label]["targets_per_second"]) == {"1", "2"}
    assert "CUDA" in rows["torch eager fp32"]["skipped"]
    assert "CUDA provider" in rows["ort cuda fp32"]["skipped"]
    for label in ("torch.compile fp16", "ort tensorrt-rtx fp16", "tensorrt int8", "tensorrt_rtx fp16 without a graph"):
        assert rows[label]["skipped"]
