"""Bundles: what is wrong with one is said, and nothing outside its folder is touched."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mvt_deploy import load
from mvt_deploy.bundle import FORMAT, FORMAT_SIDES, Bundle, TrackerSpec, open_bundle, staging, write_manifest
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


def dial(folder: Path, sides: tuple[int, ...] = (192, 224, 256, 320)) -> Bundle:
    """A tiny bundle with search graphs of several sides."""
    pytest.importorskip("onnx")
    sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
    from tiny import tiny_bundle

    return open_bundle(tiny_bundle(folder, sides=sides))


def test_a_specification_at_another_side_has_the_same_density() -> None:
    spec = TrackerSpec()
    assert [spec.at(side).search_factor for side in (128, 192, 224, 256, 320)] == [2.0, 3.0, 3.5, 4.0, 5.0]
    assert spec.at(192) == replace(spec, search_size=192, search_factor=3.0)
    assert spec.at(192).at(256) == spec
    for side in (0, -32, 100, 200, 4128):
        with pytest.raises(BundleError, match=f"multiple of 32 pixels, 32 to 4096, not {side}"):
            spec.at(side)


def test_a_bundle_of_several_sides(tmp_path: Path) -> None:
    bundle = dial(tmp_path / "b")
    assert bundle.search_sizes == (192, 224, 256, 320)
    assert bundle.sizes_of("ort") == (256,)
    assert bundle.sizes_of("ort", "bf16", 224) == (224,)
    assert bundle.sizes_of("openvino", "fp32", "auto") == (192, 224, 256, 320)
    template, search = bundle.graphs("tensorrt", "fp32", 192)
    assert (template.file, search.file, search.side) == ("template.onnx", "search.s192.onnx", 192)
    assert bundle.graphs("ort").search.file == "search.onnx"
    bundle.verify()
    with pytest.raises(BundleError, match=r"no fp32 search graph of side 128, only of 192 and .* --search-size 128"):
        bundle.graphs("ort", "fp32", 128)
    with pytest.raises(BundleError, match="no int8 search graph, only: fp32"):
        bundle.sizes_of("ort", "int8", "auto")


def test_only_manifests_with_other_sides_are_of_the_newer_format(tmp_path: Path) -> None:
    formats = {}
    for sides in ((192, 256), (256,)):
        folder = dial(tmp_path / str(len(sides)), sides).folder
        formats[sides] = json.loads((folder / "manifest.json").read_text())["format"]
    assert formats == {(192, 256): FORMAT_SIDES, (256,): FORMAT}


def test_a_side_that_does_not_fit_its_score_map(tmp_path: Path) -> None:
    folder = dial(tmp_path / "b").folder
    edit(folder, lambda m: m["graphs"][1]["outputs"][2].update(shape=["n", 16, 16]))  # of the graph of side 192
    with pytest.raises(BundleError, match=r"search\.s192\.onnx, which takes no crops uint8 \[n, 256, 256, 3\]"):
        open_bundle(folder)


def test_which_graphs_a_runtime_runs(bundle: Path) -> None:
    opened = open_bundle(bundle)
    files = {
        (runtime, precision): tuple(graph.file for graph in opened.graphs(runtime, precision))
        for runtime in ("ort", "openvino", "tensorrt", "portable")
        for precision in ("fp32", "fp16", "bf16", "int8")
        if (runtime, precision) != ("portable", "int8")
    }
    portable = ("template.onnx", "search.onnx")
    half = ("template.fp16.onnx", "search.fp16.onnx")
    assert files == {
        ("ort", "fp32"): ("template.onnx", "search.ort.onnx"),
        ("ort", "bf16"): ("template.onnx", "search.ort.onnx"),
        ("ort", "fp16"): half,
        ("ort", "int8"): ("template.onnx", "search.int8.ort.onnx"),
        ("openvino", "fp32"): portable,
        ("openvino", "bf16"): portable,
        ("openvino", "fp16"): half,
        ("openvino", "int8"): ("template.onnx", "search.int8.openvino.onnx"),
        ("tensorrt", "fp32"): portable,
        ("tensorrt", "bf16"): portable,
        ("tensorrt", "fp16"): half,
        ("tensorrt", "int8"): ("template.fp16.onnx", "search.int8.tensorrt.onnx"),
        ("portable", "fp32"): portable,
        ("portable", "bf16"): portable,
        ("portable", "fp16"): half,
    }
