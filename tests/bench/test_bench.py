"""The benchmark: its arithmetic by hand, its turns, and a real run of the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from told import Told

from mvt_deploy.bench import machine
from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.bench.clip import BenchClip, photograph
from mvt_deploy.bench.measure import RUN, Row, measure
from mvt_deploy.bench.peers import peer
from mvt_deploy.bench.published import Published, cached_graph
from mvt_deploy.bench.report import build, markdown, to_csv, warnings
from mvt_deploy.bench.statistics import latency, ratio
from mvt_deploy.errors import UserError
from mvt_deploy.geometry import Box, iou

COMMAND = [sys.executable, "-c", "from mvt_deploy.cli.main import run; run()"]


def test_latency_by_hand() -> None:
    found = latency([0.010, 0.020, 0.030])
    assert found.median_ms == pytest.approx(20)
    assert found.mean_ms == pytest.approx(20)
    assert found.p90_ms == pytest.approx(28)
    assert found.std_ms == pytest.approx((200 / 3) ** 0.5)
    assert found.cov == pytest.approx((200 / 3) ** 0.5 / 20)
    assert found.fps_inverse_of_mean == pytest.approx(50)
    assert found.fps_mean_of_inverse == pytest.approx((100 + 50 + 100 / 3) / 3)
    with pytest.raises(ValueError, match="no run"):
        latency([])


def test_ratio_of_interleaved_rounds() -> None:
    """A machine that becomes four times slower half way leaves a ratio of two untouched."""
    random = np.random.default_rng(0)
    pace = [1.0] * 20 + [4.0] * 20
    baseline = [[p * 0.02 * random.uniform(0.97, 1.03) for _ in range(5)] for p in pace]
    candidate = [[p * 0.01 * random.uniform(0.97, 1.03) for _ in range(5)] for p in pace]
    found = ratio(baseline, candidate)
    assert found.value == pytest.approx(2, abs=0.03)
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 0.05
    assert ratio(baseline, candidate, scale=4).value == pytest.approx(8, abs=0.12)


def test_the_dearer_frames_of_a_varying_candidate_count() -> None:
    baseline = [[0.02] * 4] * 10
    candidate = [[0.005] * 4] * 8 + [[0.005, 0.02, 0.02, 0.02]] * 2
    assert ratio(baseline, candidate).value == pytest.approx(4)
    found = ratio(baseline, candidate, varying=True)
    assert found.value == pytest.approx(0.02 / (0.005 * 0.85 + 0.02 * 0.15))
    assert found.low < found.value < found.high <= 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ort", Candidate()),
        ("ort:cpu:fp32:t2:b1", Candidate(threads=2)),
        ("b4:bf16:openvino:t1", Candidate("openvino", "cpu", "bf16", 1, 4)),
        ("ort:openvino:bf16", Candidate("ort", "openvino", "bf16")),
        ("torch:b2", Candidate("torch", batch=2)),
        ("ort:int8:s192", Candidate(precision="int8", search_size=192)),
        ("openvino:auto", Candidate("openvino", search_size="auto")),
        ("auto", Candidate(search_size="auto")),
    ],
)
def test_candidates(text: str, wanted: Candidate) -> None:
    assert parse(text) == wanted
    assert parse(wanted.name) == wanted


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--seconds", "inf"], "at most 3600"), (["--init-box", "1,2,30,40"], "name the video or folder too")],
)
def test_what_bench_refuses(options: list[str], said: str, bundle: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "bench", "--model", str(bundle), *options], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["", "ort:tpu", "ort:t0", "ort:fp32:fp16", "ort:auto:s192", "ort:s0", "ort:b-1", "ort:t2:t3"]
)
def test_what_is_no_candidate(text: str) -> None:
    with pytest.raises(UserError, match="candidate"):
        parse(text)


class Sleeper:
    """Stages of known length."""

    def __init__(self, crop: float, network: float, decode: float, order: list[str], name: str) -> None:
        self.times, self.order, self.name = (crop, network, decode), order, name

    def cut(self, frame: Any) -> None:
        self.order.append(self.name)
        time.sleep(self.times[0])

    def locate(self, crops: Any) -> None:
        time.sleep(self.times[1])

    def place(self, found: Any, width: int, height: int) -> None:
        time.sleep(self.times[2])


@pytest.fixture
def clip() -> BenchClip:
    return BenchClip("black", [np.zeros((90, 160, 3), np.uint8)] * 4, Box(10, 10, 20, 20), [0.001])


@pytest.mark.slow
def test_turns_and_stages(clip: BenchClip) -> None:
    order: list[str] = []
    rows = [
        Row("published", Candidate(), Sleeper(0.008, 0.032, 0.004, order, "a")),
        Row("ours", Candidate(batch=2), Sleeper(0.004, 0.016, 0.002, order, "b")),
    ]
    told = Told()
    measure(rows, clip, seconds=0.1, iterations=20, progress=told)
    turns = [(name, len(list(frames))) for name, frames in groupby(order)][2:]  # without the warm-up
    assert [name for name, _ in turns[:4]] == ["a", "b", "a", "b"]
    assert all(frames > RUN for _, frames in turns), "a turn's first frames do not count"
    assert all(len(round_) == RUN for row in rows for round_ in row.rounds)
    assert min(len(r.seconds("total")) for r in rows) >= 20
    assert told.done["measuring, %"] == pytest.approx(100)
    assert told.done["warming up"] == 2
    report = build({"cpu": "x", "cores": 1, "instruction_sets": [], "gpus": []}, rows, clip)
    first, second = report["rows"]
    assert first["name"] == "published"
    assert first["ratio"]["value"] == 1
    assert second["ratio"]["value"] == pytest.approx(4, rel=0.35)  # twice as fast, two targets
    assert second["stages"]["network"]["median_ms"] == pytest.approx(16, rel=0.5)
    assert set(second["stages"]) == {"crop", "network", "decode", "total"}
    assert {"median_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cov"} <= set(second["stages"]["total"])
    assert "published" in markdown(report)
    assert len(to_csv(report).splitlines()) == 1 + 2 * 4


def test_a_busy_machine_is_named(clip: BenchClip) -> None:
    row = Row("wild", Candidate(), Sleeper(0, 0, 0, [], "w"))
    row.rounds = [[dict.fromkeys(("crop", "network", "decode", "total"), s) for s in (0.01, 0.02)]]
    report = build({"cpu": "x", "cores": 1, "instruction_sets": [], "gpus": []}, [row], clip)
    assert "wild varies by 33%" in warnings(report)[0]


def test_the_clip_goes_back_and_forth() -> None:
    frames = [np.full((2, 2, 3), i, np.uint8) for i in range(4)]
    clip = BenchClip("x", frames, Box(0, 0, 1, 1), [])
    assert [int(clip.frame(i)[0, 0, 0]) for i in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert BenchClip("x", frames[:1], Box(0, 0, 1, 1), []).frame(7) is frames[0]


def test_machine() -> None:
    found = machine.describe()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["versions"]["numpy"] == np.__version__
    json.dumps(found)
    assert found["cpu"] in machine.one_line(found)


def test_peers() -> None:
    with pytest.raises(UserError, match="no peer 'siamese'"):
        peer("siamese")
    with pytest.raises(UserError, match=r"needs backbone\.onnx and head\.onnx"):
        peer("nano=missing.onnx")
    name, make = peer("mil")
    assert name == "mil"
    assert make() is not None


@pytest.mark.slow
def test_the_baseline_is_the_same_tracker(bundle: Path, published_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published graph with numpy around it gives the boxes of our graphs."""
    import mvt_deploy as mvt
    from mvt_deploy.bundle import open_bundle

    monkeypatch.setenv("XDG_CACHE_HOME", str(published_cache))
    graph = cached_graph(open_bundle(bundle))
    assert cached_graph(open_bundle(bundle)) == graph
    clip = photograph()
    published, ours = Published(graph), mvt.Tracker(mvt.load(bundle), lost=None)
    published.init(clip.frame(0), clip.box)
    ours.init(clip.frame(0), clip.box)
    for i in range(1, 10):
        height, width = clip.frame(i).shape[:2]
        theirs = published.place(published.locate(published.cut(clip.frame(i))), width, height)
        track = ours.update(clip.frame(i))
        assert isinstance(track, mvt.Track)
        assert np.allclose(theirs.as_tuple(), track.box.as_tuple(), atol=0.02)
    assert iou(track.box.as_tuple(), clip.box.as_tuple()) > 0.3


@pytest.mark.slow
def test_the_command(bundle: Path, published_cache: Path, tmp_path: Path) -> None:
    files = ["--csv", "b.csv", "--markdown", "b.md", "--plot", "b.png"]
    options = ["--compare", "ort:t1,ort:b2", "--peer", "mil", "--seconds", "0.1", "--json", "-"]
    shutil.copytree(published_cache, tmp_path / "cache")
    done = subprocess.run(
        [*COMMAND, "bench", "--model", str(bundle), *options, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    names = ["published", "ort:cpu:fp32:t1:b1", "ort:cpu:fp32:b2", "opencv mil"]
    assert [row["name"] for row in report["rows"]] == names
    for row in report["rows"]:
        assert row["stages"]["total"]["iterations"] >= 100
        assert row["ratio"]["low"] <= row["ratio"]["value"] <= row["ratio"]["high"]
        assert row["stages"]["network"]["median_ms"] < row["stages"]["total"]["median_ms"]
    for row in report["rows"][:3]:
        assert row["first_box_s"] > 0
        assert row["peak_memory_mb"] > 50
    ours = {stage: found["median_ms"] for stage, found in report["rows"][1]["stages"].items()}
    assert ours["crop"] + ours["decode"] < ours["network"]
    assert report["machine"]["cpu"]
    assert {p.name for p in tmp_path.iterdir()} == {"b.csv", "b.md", "b.png", "cache"}


def test_a_wrong_candidate_is_one_sentence(bundle: Path) -> None:
    wrong = subprocess.run(
        [*COMMAND, "bench", "--model", str(bundle), "--compare", "ort:tpu"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
