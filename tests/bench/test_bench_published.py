"""The baseline's graph, a fresh process's needs, clips, peers, and a run as a whole."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from told import Told
from typer.testing import CliRunner

from mvt_deploy.bench import session
from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.bench.clip import BenchClip, photograph, recorded
from mvt_deploy.bench.measure import RUN, Row, measure, our_row, peer_row
from mvt_deploy.bench.peers import peer
from mvt_deploy.bench.published import cached_graph
from mvt_deploy.bench.startup import candidate_start
from mvt_deploy.bundle import open_bundle
from mvt_deploy.cli.main import app
from mvt_deploy.errors import BackendError, MissingExtra, UserError
from mvt_deploy.geometry import Box, iou


@pytest.fixture(autouse=True)
def cache(published_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the baseline graph with the tests' own files, not in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(published_cache))


@pytest.fixture(scope="module")
def clip() -> BenchClip:
    return photograph()


@pytest.fixture
def settings(bundle: Path) -> session.BenchSettings:
    return session.BenchSettings(bundle, seconds=0.1)


def test_the_baseline_takes_both_images(bundle: Path) -> None:
    graph = cached_graph(open_bundle(bundle))
    inputs = {i.name: (i.type, i.shape) for i in onnxruntime.InferenceSession(str(graph)).get_inputs()}
    assert inputs == {
        "template": ("tensor(float)", [1, 3, 128, 128]),
        "search": ("tensor(float)", [1, 3, 256, 256]),
    }


def test_the_graph_is_kept_and_needs_no_export_the_second_time(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_bundle(bundle)
    path = cached_graph(opened)
    monkeypatch.setattr("mvt_deploy.export.published.export_published", lambda *_: pytest.fail("exported again"))
    assert cached_graph(opened) == path


@pytest.mark.slow
def test_peak_memory_is_the_fresh_process_own(bundle: Path) -> None:
    ballast = np.ones(100_000_000)  # 800 MB: a process inherits its parent's ru_maxrss over fork and exec
    found = candidate_start(Candidate(), open_bundle(bundle))
    assert ballast.nbytes > 700e6
    assert 60 < found["peak_memory_mb"] < 500
    assert found["first_box_s"] > 0.05


@pytest.mark.slow
def test_a_process_that_fails_has_no_figures(bundle: Path) -> None:
    assert candidate_start(Candidate("torch", precision="fp16"), open_bundle(bundle)) == {}


def test_the_shipped_clip_moves_and_its_decoding_is_measured(clip: BenchClip) -> None:
    assert len(clip.frames) == 60
    assert all(frame.shape == (720, 1280, 3) and frame.dtype == np.uint8 for frame in clip.frames)
    assert np.abs(clip.frames[0].astype(int) - clip.frames[20]).mean() > 5
    assert len(clip.read) == 59
    assert min(clip.read) > 0


def test_a_folder_with_a_given_target(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for i in range(5):
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), random.integers(0, 256, (90, 120, 3), np.uint8))
    found = recorded(str(tmp_path), "10,20,30,40")
    assert found.box == Box(10, 20, 30, 40)
    assert found.name.endswith("120x90")
    assert (len(found.frames), len(found.read)) == (5, 4)
    with pytest.raises(UserError, match="--init-box"):
        recorded(str(tmp_path))


def test_a_batch_has_that_many_targets_and_a_template_cost(bundle: Path, clip: BenchClip) -> None:
    row = our_row(parse("ort:b3"), open_bundle(bundle), clip)
    (crops,) = row.stages.cut(clip.frame(1))  # one batch per side
    assert crops.shape == (3, 256, 256, 3)
    assert len(row.stages.place(row.stages.locate(crops), 1280, 720)) == 3
    assert len(row.template_seconds) == 10
    folder = open_bundle(bundle).folder
    assert row.model_bytes == sum((folder / f).stat().st_size for f in ("template.onnx", "search.ort.onnx"))


def test_opencv_follows_the_clip_as_a_peer(clip: BenchClip) -> None:
    row = peer_row(*peer("mil"), clip)
    frame = clip.frame(1)
    good, box = row.stages.place(row.stages.locate(row.stages.cut(frame)), 1280, 720)
    assert good
    assert iou(box, clip.box.as_tuple()) > 0.5


@pytest.mark.skipif(hasattr(cv2, "TrackerCSRT"), reason="this OpenCV has CSRT")
def test_a_peer_this_opencv_lacks_names_the_package() -> None:
    with pytest.raises(UserError, match="opencv-contrib-python"):
        peer("csrt")


def test_torch_candidates_cannot_differ_in_threads(settings: session.BenchSettings) -> None:
    with pytest.raises(UserError, match="PyTorch has one number of threads"):
        session.run(replace(settings, compare=["torch:t1", "torch:t2"]))


@pytest.mark.slow
def test_without_the_extra_the_baseline_is_left_out_and_that_is_said(
    settings: session.BenchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "cached_graph", partial(_missing, "exporting a model"))
    monkeypatch.setattr(session, "measure", partial(measure, iterations=RUN))
    told = Told()
    report, _ = session.run(settings, told)
    assert [row["name"] for row in report["rows"]] == ["ort:cpu:fp32:b1"]
    assert any("mvt-deploy[export]" in line for line in told.messages)


@pytest.mark.slow
def test_a_candidate_that_cannot_run_here_leaves_the_others(
    settings: session.BenchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "measure", partial(measure, iterations=RUN))

    def refusing(candidate: Candidate, *rest: object) -> Row:
        if candidate.precision == "bf16":
            raise BackendError("this processor has no bf16 arithmetic: use --precision fp32.")
        return our_row(candidate, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "our_row", refusing)
    report, _ = session.run(replace(settings, compare=["openvino:bf16", "ort:t1"]))
    assert [row["name"] for row in report["rows"]] == ["published", "ort:cpu:fp32:t1:b1"]
    (missing,) = json.loads(json.dumps(report))["unavailable"]
    assert missing["name"] == "openvino:bf16:b1"
    assert "no bf16 arithmetic" in missing["reason"]
    with pytest.raises(UserError, match="no bf16 arithmetic"):
        session.run(replace(settings, compare=["openvino:bf16"]))
    with pytest.raises(UserError, match=r"no candidate can run here: openvino:bf16:b1: .* ort:cpu:bf16:b1: "):
        session.run(replace(settings, compare=["openvino:bf16", "ort:bf16"]))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["192", "auto"])
def test_the_search_size_of_the_only_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    """On graphs of a few kilobytes, whose score is always high enough for the smallest side."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
    from tiny import tiny_bundle

    model = tiny_bundle(tmp_path / "tiny", sides=(192, 256))
    monkeypatch.setattr(session, "cached_graph", partial(_missing, "exporting a model"))
    monkeypatch.setattr(session, "measure", partial(measure, iterations=RUN))
    options = ["--model", str(model), "--search-size", size, "--seconds", "0.1"]
    done = CliRunner().invoke(app, ["bench", *options, "--json", "-"])
    assert done.exit_code == 0, done.output
    (made,) = json.loads(done.stdout)["rows"]
    name = "auto" if size == "auto" else f"s{size}"
    assert (made["name"], str(made["search_size"])) == (f"ort:cpu:fp32:{name}:b1", size)
    assert made.get("sides", {}) == ({"192": 1.0} if size == "auto" else {})
    assert name in CliRunner().invoke(app, ["bench", *options]).output
    with pytest.raises(UserError, match="no fp32 search graph of side 224, only of 192 and 256"):
        CliRunner().invoke(app, ["bench", *options, "--search-size", "224"], catch_exceptions=False)


@pytest.mark.slow
def test_nothing_in_the_table_is_cut_in_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
    from tiny import tiny_bundle

    model = tiny_bundle(tmp_path / "tiny", sides=(192, 256))
    monkeypatch.setattr(session, "cached_graph", partial(_missing, "exporting a model"))
    monkeypatch.setattr(session, "measure", partial(measure, iterations=RUN))
    candidates = ["ort:s192", "ort:auto", "ort:t1", "ort:s192:t1", "ort:auto:t1"]
    options = ["--model", str(model), "--compare", ",".join(candidates), "--seconds", "0.1"]
    shown = CliRunner().invoke(app, ["bench", *options]).stdout
    assert "…" not in shown
    for text in (*(parse(candidate).name for candidate in candidates), "network ms", "search sizes", "192: 100%"):
        assert text in shown


def _missing(what: str, _: object) -> Path:
    raise MissingExtra(what, "export", "torch")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--compare", "ort:t1", "--backend", "openvino"], "leave --backend out"),
        (["--compare", "ort:t1", "--search-size", "192"], "leave --search-size out"),
        (["--compare", "ort:t1", "--precision", "fp32", "--device", "cpu"], "leave --precision and --device out"),
        (["--backend", "torch", "--provider", "openvino"], "belongs to the ort backend"),
        (["--backend", "openvino", "--provider", "auto"], "belongs to the ort backend"),
        (["--backend", "ort", "--device", "cuda"], "belongs to the torch backend"),
    ],
)
def test_options_that_contradict_each_other_are_refused(bundle: Path, options: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        CliRunner().invoke(app, ["bench", "--model", str(bundle), *options], catch_exceptions=False)
