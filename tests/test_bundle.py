"""Bundles: what is wrong with one is said, and nothing outside its folder is touched."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mvt_deploy import load
from mvt_deploy.bundle import open_bundle, staging, write_manifest
from mvt_deploy.errors import BundleError


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[Any], object]) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def test_a_copied_bundle_loads(copy: Path) -> None:
    load(copy).close()


def test_missing_graph(copy: Path) -> None:
    (copy / "search.ort.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks its file search\.ort\.onnx"):
        load(copy)


def test_what_to_do_about_a_missing_file(copy: Path) -> None:
    (copy / "template.onnx").unlink()
    with pytest.raises(BundleError, match=f"or export it again with  mvt-deploy export -o {copy}"):
        open_bundle(copy).verify()


def test_a_graph_nobody_asks_for_may_be_missing(copy: Path) -> None:
    (copy / "search.fp16.onnx").unlink()
    load(copy).close()


def test_truncated_graph(copy: Path) -> None:
    path = copy / "template.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError, match="not the file its manifest describes"):
        load(copy)


def test_swapped_graphs(copy: Path) -> None:
    shutil.copy(copy / "template.onnx", copy / "search.ort.onnx")
    with pytest.raises(BundleError, match="not the file its manifest describes"):
        load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=99), "has format 99"),
        (lambda m: m.update(format="1"), "no format number"),
        (lambda m: m.pop("graphs"), "manifest.graphs is missing"),
        (lambda m: m["graphs"][0].update(opset="18"), r"graphs\[0\].opset is str, not int"),
        (lambda m: m["graphs"].append(5), "is not an object"),
        (lambda m: m["graphs"][0].update(outputs=5), r"graphs\[0\].outputs is int, not list"),
        (lambda m: m["graphs"][0].update(calibration=5), r"graphs\[0\].calibration is int, not .*Calibration"),
        (lambda m: m["graphs"][0].update(calibration={}), r"graphs\[0\].calibration.method is missing"),
        (lambda m: m["graphs"][0]["inputs"][0].update(shape=[1.5]), r"shape\[0\] is float, not int | str"),
        (lambda m: m["graphs"][0]["inputs"][0].update(shape=[{}]), r"shape\[0\] is dict, not int | str"),
        (lambda m: m.update(name=5), "manifest.name is int, not str"),
        (lambda m: m["tools"].update(onnx=5), "manifest.tools.onnx is int, not str"),
        (lambda m: m["checkpoint"].update(file="."), "outside its folder"),
        (lambda m: m["graphs"][0].update(file="../search.onnx"), "outside its folder"),
        (lambda m: m["graphs"][0].update(file="/etc/passwd"), "outside its folder"),
        (lambda m: m["graphs"][0].update(file="..\\x.onnx"), "outside its folder"),
        (lambda m: m["checkpoint"].update(file=".."), "outside its folder"),
    ],
)
def test_bad_manifests(copy: Path, change: Callable[[Any], object], message: str) -> None:
    edit(copy, change)
    with pytest.raises(BundleError, match=message):
        open_bundle(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "[" * 100_000])
def test_manifests_that_are_not_json_objects(copy: Path, content: str) -> None:
    (copy / "manifest.json").write_text(content)
    with pytest.raises(BundleError, match=r"cannot be read as JSON|no format number"):
        open_bundle(copy)


def test_every_file_that_leaves_the_folder_is_named(copy: Path) -> None:
    edit(copy, lambda m: (m["checkpoint"].update(file="../a"), m["graphs"][0].update(file="../b")))
    with pytest.raises(BundleError, match=r"\('\.\./a', '\.\./b'\)"):
        open_bundle(copy)


def test_what_a_manifest_may_leave_out(copy: Path) -> None:
    edit(copy, lambda m: (m.pop("tools"), m.pop("gates"), m["tracker"].pop("stride")))
    manifest = open_bundle(copy).manifest
    assert (manifest.tools, manifest.gates, manifest.tracker.stride) == ({}, [], 16)


def test_a_manifest_is_read_as_it_was_written(copy: Path) -> None:
    again = copy.parent / "again"
    again.mkdir()
    edit(copy, lambda m: m["graphs"][0]["parity"].update(max_abs=sys.float_info.max))
    manifest = open_bundle(copy).manifest
    assert manifest.tools["onnx"]
    write_manifest(again, manifest)
    assert open_bundle(again).manifest == manifest
    assert json.loads((again / "manifest.json").read_text()) == json.loads((copy / "manifest.json").read_text())


def test_graphs_are_fp32_unless_told_otherwise(copy: Path) -> None:
    assert open_bundle(copy).graph("search").precision == "fp32"


def test_unknown_keys_are_ignored(copy: Path) -> None:
    edit(copy, lambda m: m.update(future="field"))
    open_bundle(copy)


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="mvt-deploy export"):
        open_bundle(tmp_path)


def test_staging_writes_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "mvt"

    def fail() -> None:
        with staging(folder) as place:
            (place / "half.onnx").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not folder.exists()
    assert not list(folder.parent.iterdir())


def test_staging_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "mvt"
    for content in ("first", "second"):
        with staging(folder) as place:
            (place / "manifest.json").write_text(content)
            (place / content).touch()
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "second"]
    assert (folder / "manifest.json").read_text() == "second"
    assert list(tmp_path.iterdir()) == [folder]


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot write"), staging(tmp_path / "file" / "mvt"):
        pass
