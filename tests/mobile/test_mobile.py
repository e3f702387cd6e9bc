"""The package for apps: its graphs, its contract, and reference answers that the Python tracker confirms."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

import mvt_deploy as mvt
from mvt_deploy.bundle import open_bundle
from mvt_deploy.cli.main import app
from mvt_deploy.errors import MissingExtra, UserError
from mvt_deploy.geometry import CropWindow, crop
from mvt_deploy.mobile import write_package

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of the default bundle, written by the command over an earlier one."""
    place = tmp_path_factory.mktemp("mobile") / "package"
    place.mkdir()
    (place / "contract.json").write_text("{}")
    (place / "old.ort").write_text("")
    done = CliRunner().invoke(app, ["package", "--mobile", str(place), "--model", str(bundle)])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{place}\n"
    assert "int8, search crops of 256 pixels: 6." in done.stderr
    assert not (place / "old.ort").exists()
    return place


@pytest.fixture(scope="module")
def contract(package: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((package / "contract.json").read_text())
    return loaded


def test_every_graph_is_what_the_contract_says(package: Path, contract: dict[str, Any]) -> None:
    assert [(pair["precision"], pair["search_size"]) for pair in contract["pairs"]] == [("fp32", 256), ("int8", 256)]
    assert [(model["role"], model["size"], model["factor"]) for model in contract["models"]] == [
        ("template", 128, 2.0),
        ("search", 256, 4.0),
        ("search", 256, 4.0),
    ]
    for model in contract["models"]:
        for kind in ("ort", "onnx"):
            content = (package / model[kind]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == model[f"{kind}_sha256"]
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            found = [(t.name, t.shape) for t in (*session.get_inputs(), *session.get_outputs())]
            assert found == [(t["name"], t["shape"]) for t in (*model["inputs"], *model["outputs"])]
            assert all(isinstance(side, int) for _, shape in found for side in shape)  # nothing dynamic
            assert all(shape[0] == 1 for _, shape in found)
        assert (package / model["ort"]).read_bytes()[4:8] == b"ORTM"


def test_a_port_written_from_the_contract_alone_gives_the_reference_answers(
    package: Path, contract: dict[str, Any]
) -> None:
    for answer, pair in zip(contract["reference"]["answers"], contract["pairs"], strict=True):
        template, search = (onnxruntime.InferenceSession(str(package / pair[role])) for role in ("template", "search"))
        crops = [
            np.fromfile(package / answer[f"{role}_crop"], np.uint8).reshape(1, side, side, 3)
            for role, side in (("template", 128), ("search", 256))
        ]
        names = [output.name for output in template.get_outputs()]
        features = dict(zip(names, template.run(None, {"crop": crops[0]}), strict=True))
        box, score = search.run(["box", "score"], {"crop": crops[1], **features})
        assert box[0] == pytest.approx(answer["box"], abs=1e-5)
        assert score[0] == pytest.approx(answer["score"], abs=1e-5)
        frame: Any = cv2.imread(str(package / contract["reference"]["second"]))
        assert np.array_equal(crop(frame, CropWindow(**answer["search_window"]), 256), crops[1][0])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_tracker_finds_the_reference_box(
    package: Path, contract: dict[str, Any], bundle: Path, precision: str
) -> None:
    reference = contract["reference"]
    first, second = (np.asarray(cv2.imread(str(package / reference[name])), np.uint8) for name in ("first", "second"))
    tracker = mvt.Tracker(mvt.load(bundle, "ort", precision=precision))
    tracker.init(first, reference["init_box"])
    track = tracker.update(second)
    answer = next(a for a in reference["answers"] if a["precision"] == precision)
    assert list(track.box) == pytest.approx(answer["box_in_frame"], abs=0.1 if precision == "fp32" else 0.02 * 1000)
    assert track.score > 0.3


def test_the_readme_tells_the_contract(package: Path, contract: dict[str, Any]) -> None:
    text = (package / "README.md").read_text()
    assert "$" not in text.split("## In code")[0]  # every blank was filled in
    for model in contract["models"]:
        assert model["ort"] in text
        for tensor in (*model["inputs"], *model["outputs"]):
            assert f"| `{tensor['name']}` | {tensor['dtype']} |" in text
    policy = mvt.LostPolicy()
    assert f"below {policy.threshold:g}, for the frame number {policy.patience} in a row" in text
    for provider in ("NNAPI", "CoreML NeuralNetwork", "CoreML MLProgram", "XNNPACK"):
        assert text.count(f"| {provider} |") == 3
    assert "**unverified**" in text


def test_the_operators_for_a_reduced_build(package: Path) -> None:
    lines = (package / "models" / "required_operators.config").read_text().splitlines()
    operators = {name for line in lines if not line.startswith("#") for name in line.split(";")[-1].split(",")}
    assert {"Conv", "MatMul", "LayerNormalization"} <= operators


def test_what_cannot_be_packaged_is_said(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(UserError, match="is no package of mvt-deploy"):
        write_package(open_bundle(bundle), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"package --mobile needs .*mvt-deploy\[package\]"):
        write_package(open_bundle(bundle), tmp_path / "package")
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
