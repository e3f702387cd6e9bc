"""``mvt-deploy eval`` from the command line to the files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from mvt_deploy.cli.bars import Bars
from mvt_deploy.cli.main import app
from mvt_deploy.errors import UserError
from mvt_deploy.tracker import SearchPolicy


def clip(folder: Path, frames: int = 6) -> Path:
    """A plain folder with one clip: a textured square that moves."""
    (folder / "img").mkdir(parents=True)
    random = np.random.default_rng(0)
    background, patch = (
        random.integers(0, 60, (120, 160, 3), np.uint8),
        random.integers(120, 255, (30, 40, 3), np.uint8),
    )
    boxes = []
    for index in range(frames):
        frame = background.copy()
        frame[40 + index : 70 + index, 50 + 2 * index : 90 + 2 * index] = patch
        assert cv2.imwrite(str(folder / "img" / f"{index + 1:08d}.png"), frame)
        boxes.append(f"{50 + 2 * index},{40 + index},40,30")
    (folder / "groundtruth.txt").write_text("\n".join(boxes) + "\n", encoding="utf-8")
    return folder


def call(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


@pytest.mark.slow
def test_eval_prints_figures_and_compares_backends(bundle: Path, tmp_path: Path) -> None:
    data = clip(tmp_path / "square")
    code, shown = call(data, "--model", bundle, "-o", tmp_path / "ort")
    assert code == 0
    assert "success AUC" in shown
    code, shown = call(
        data, "--model", bundle, "--backend", "torch", "-o", tmp_path / "torch", "--compare", tmp_path / "ort", "--json"
    )
    assert code == 0
    report = json.loads(shown)
    assert report["tracker"]["backend"] == "torch"
    assert report["figures"]["ao"] > 0.5
    compared = report["comparisons"]["mvt-ort-fp32"]["ao"]
    assert compared["this"] == pytest.approx(compared["other"], abs=1e-3)  # the graphs are the network's
    assert (tmp_path / "torch" / "success.png").is_file()
    assert np.loadtxt(tmp_path / "ort" / "results" / "square.txt", delimiter=",").shape == (6, 4)


@pytest.mark.slow
def test_no_fusion_runs_another_network(bundle: Path, tmp_path: Path) -> None:
    data = clip(tmp_path / "square", 4)
    figures = []
    for place, *options in (("with", "--backend", "torch"), ("without", "--no-fusion")):
        code, shown = call(data, "--model", bundle, "--json", "-o", tmp_path / place, *options)
        assert code == 0
        figures.append(json.loads(shown))
    assert [f["tracker"]["fusion"] for f in figures] == [True, False]
    assert [f["tracker"]["backend"] for f in figures] == ["torch", "torch"]
    scores = [np.loadtxt(tmp_path / p / "results" / "square_score.txt") for p in ("with", "without")]
    assert np.abs(scores[0][1:] - scores[1][1:]).max() > 1e-3


def test_a_refusal_before_the_work_shows_no_bars(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal: bars are drawn nowhere else
    with pytest.raises(UserError), Bars():
        raise UserError("no.")
    assert capfd.readouterr().err == ""
    with Bars() as bars:
        sequences, frames = bars.task("sequences", 2), bars.task("frames", 30)
        frames.advance(15)
        sequences.advance(1, note="square")
    shown = capfd.readouterr().err
    assert "1/2" in shown
    assert "15/30" in shown


@pytest.mark.slow
def test_a_search_size_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
    from tiny import tiny_bundle

    data, model = clip(tmp_path / "square"), tiny_bundle(tmp_path / "tiny", sides=(192, 256))
    code, shown = call(data, "--model", model, "-o", tmp_path / "192", "--search-size", 192, "--json")
    assert code == 0
    report = json.loads(shown)
    assert report["tracker"]["search_size"] == 192
    assert report["label"] == "tiny-ort-fp32-search-192"
    assert report["latency_ms"]["p50"] > 0
    assert call(data, "--model", model, "-o", tmp_path / "256", "--json")[0] == 0
    boxes = [np.loadtxt(tmp_path / side / "results" / "square.txt", delimiter=",") for side in ("192", "256")]
    assert np.abs(boxes[0] - boxes[1]).max() > 0
    # A network of random weights never earns the smallest side, so the policy's choice is given: auto must follow it.
    monkeypatch.setattr(SearchPolicy, "side", lambda policy, sides, *state: min(sides))
    code, shown = call(data, "--model", model, "-o", tmp_path / "auto", "--search-size", "auto", "--json")
    assert code == 0
    assert json.loads(shown)["label"] == "tiny-ort-fp32-search-auto"
    chosen = np.loadtxt(tmp_path / "auto" / "results" / "square.txt", delimiter=",")
    assert np.abs(chosen - boxes[1]).max() > 0  # not the default side on every frame
    np.testing.assert_array_equal(chosen, boxes[0])
    with pytest.raises(UserError, match="of side 224, only of 192 and 256"):
        call(data, "--model", model, "-o", tmp_path / "224", "--search-size", 224)
    with pytest.raises(UserError, match="a side in pixels, such as 256, or auto, not '-1'"):
        call(data, "--model", model, "-o", tmp_path / "minus", "--search-size=-1")


def test_mistakes_are_sentences(bundle: Path, tmp_path: Path) -> None:
    data = clip(tmp_path / "square", 3)
    with pytest.raises(UserError, match="there is no folder"):
        call(tmp_path / "nothing")
    with pytest.raises(UserError, match="has no split 'val'"):
        call(data, "--split", "val", "--model", bundle)
    with pytest.raises(UserError, match="only the torch backend in fp32"):
        call(data, "--no-fusion", "--backend", "ort", "--model", bundle, "-o", tmp_path / "a")
    with pytest.raises(UserError, match="at least 1, not 0"):
        call(data, "--jobs", 0, "--model", bundle, "-o", tmp_path / "b")
    with pytest.raises(UserError, match="no folder of a run"):
        call(data, "--compare", tmp_path / "c", "--model", bundle, "-o", tmp_path / "d")
    assert call(data, "--model", bundle, "-o", tmp_path / "e", "--json")[0] == 0
    with pytest.raises(UserError, match="another tracker"):
        call(data, "--model", bundle, "-o", tmp_path / "e", "--backend", "torch")
