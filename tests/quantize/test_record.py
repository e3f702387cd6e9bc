"""A calibration set from clips: what is chosen, what is refused, and what the command leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from told import Told
from typer.testing import CliRunner

from mvt_deploy import load
from mvt_deploy.assets import asset
from mvt_deploy.cli.main import app
from mvt_deploy.errors import CalibrationError
from mvt_deploy.geometry import crop, crop_window
from mvt_deploy.quantize.calibration_set import INDEX, Recording, read_crops, require_place, write_crops
from mvt_deploy.quantize.record import ClipTarget, record
from mvt_deploy.video.demo import frames
from mvt_deploy.video.sources import open_source


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second and a half of the demo's scene, as images with ground truth."""
    folder = tmp_path_factory.mktemp("clip") / "scene"
    folder.mkdir()
    lines = []
    for i, (image, box) in zip(range(45), frames(), strict=False):
        cv2.imwrite(str(folder / f"{i:03}.png"), image)
        lines.append(",".join(f"{v:.2f}" for v in box.as_tuple()))
    (folder / "groundtruth.txt").write_text("\n".join(lines))
    return folder


@pytest.mark.slow
def test_pairs_lie_along_the_path_and_beside_it(bundle: Path, clip: Path) -> None:
    first = next(iter(frames()))
    told = Told()
    with_scores = record(load(bundle), [ClipTarget(open_source(clip), first[1])], 20, progress=told)
    assert (told.totals, told.done) == ({"scene": 45}, {"scene": 45})
    kinds = [one.kind for one in with_scores]
    assert (kinds.count("path"), kinds.count("hard"), kinds.count("jitter")) == (10, 5, 5)
    expected = crop(first[0], crop_window(first[1], 2.0), 128)
    for one in with_scores:
        np.testing.assert_array_equal(one.template, expected)
        assert one.search.shape == (256, 256, 3)
    hardest = max(one.score for one in with_scores if one.kind == "hard")
    assert hardest <= min(one.score for one in with_scores if one.kind == "path")
    again = record(load(bundle), [ClipTarget(open_source(clip), first[1])], 20)
    assert all((a.search == b.search).all() for a, b in zip(with_scores, again, strict=True)), "a seed is a set"


@pytest.mark.slow
def test_a_lost_target_is_refused(bundle: Path, tmp_path: Path) -> None:
    image = next(iter(frames()))[0]
    for i in range(12):  # the target is there once, and then only grass
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), image if i == 0 else np.full_like(image, (90, 140, 100)))
    with pytest.raises(CalibrationError, match="lost the target"):
        record(load(bundle), [ClipTarget(open_source(tmp_path), next(iter(frames()))[1])], 16)


@pytest.mark.slow
def test_the_command_writes_a_set_that_reads_back(bundle: Path, clip: Path, tmp_path: Path) -> None:
    place = tmp_path / "own"
    arguments = ["calibrate", str(clip), "-o", str(place), "--pairs", "16", "--model", str(bundle)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.strip() == str(place)
    made = read_crops(place)
    assert made.pairs.template.shape == (16, 128, 128, 3)
    assert made.pairs.search.shape == (16, 256, 256, 3)
    assert {sample.source for sample in made.samples} == {"scene"}
    assert len(list(place.glob("template-*.jpg"))) == 1, "one template a clip is kept once"


def test_the_default_set_is_what_its_cache_was_measured_on() -> None:
    folder = asset("calibration")
    made = read_crops(folder)
    cache = json.loads((folder / "ranges.json").read_text())
    assert {entry["data"] for entry in cache["graphs"].values()} == {made.digest}
    assert {entry["graph"] for entry in cache["graphs"].values()} == {
        "search.ort.onnx",
        "search.onnx",
        "search.fp16.onnx",
    }
    assert len({sample.source for sample in made.samples}) >= 10
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6


def recordings(count: int) -> list[Recording]:
    image = np.asarray(cv2.imread(str(asset("photographs") / "coffee.jpg")), np.uint8)
    template, search = cv2.resize(image, (128, 128)), cv2.resize(image, (256, 256))
    return [
        Recording(np.asarray(template, np.uint8), np.asarray(search, np.uint8), "coffee", i, "path", 0.5)
        for i in range(count)
    ]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="too few"):
        write_crops(tmp_path / "few", recordings(3))
    assert not (tmp_path / "few").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(CalibrationError, match="no calibration set"):
        write_crops(tmp_path / "other", recordings(16))
    assert (tmp_path / "other" / "thesis.txt").read_text() == "precious"
    with pytest.raises(CalibrationError, match="holds no calibration set"):
        read_crops(tmp_path / "other")


def test_a_damaged_set_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "set"
    write_crops(place, recordings(16))
    index = json.loads((place / INDEX).read_text())
    for change, message in (
        ({"search": "../../etc/passwd"}, "outside its folder"),
        ({"search": "gone.jpg"}, "missing or no picture"),
        ({"score": "high"}, "damaged"),
    ):
        pairs = [{**index["pairs"][0], **change}, *index["pairs"][1:]]
        (place / INDEX).write_text(json.dumps({**index, "pairs": pairs}))
        with pytest.raises(CalibrationError, match=message):
            read_crops(place)
    (place / INDEX).write_text(json.dumps({**index, "format": 99}))
    with pytest.raises(CalibrationError, match="update it"):
        read_crops(place)


def test_a_set_is_replaced_from_within_and_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, link = tmp_path / "set", tmp_path / "link"
    write_crops(place, recordings(16))
    link.symlink_to(place)
    write_crops(link, recordings(17))
    monkeypatch.chdir(place)
    write_crops(Path("."), recordings(18))
    monkeypatch.chdir(tmp_path)
    assert len(read_crops(link).pairs.search) == 18
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "set"]


def test_a_file_is_no_place_for_a_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CalibrationError, match="no calibration set"):
        require_place(tmp_path / "file")
    with pytest.raises(CalibrationError, match="too long"):
        require_place(tmp_path / ("v" * 300))
