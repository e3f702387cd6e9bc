"""Bundles made to harm: links, hostile graphs that fit their hashes, other people's engines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from tiny import restate, search, sidecar, tiny_bundle

from mvt_deploy import load
from mvt_deploy.backends.tensorrt.store import stored_engines
from mvt_deploy.backends.tensorrt.triton import TritonOptions, write_repository
from mvt_deploy.bundle import open_bundle
from mvt_deploy.errors import BackendError, BundleError
from mvt_deploy.files import sha256

TEMPLATE, SEARCH = np.full((2, 128, 128, 3), 100, np.uint8), np.full((2, 256, 256, 3), 50, np.uint8)


def edit(folder: Path, change: Callable[[Any], object]) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_a_harmless_one_runs(tmp_path: Path, backend: str) -> None:
    pytest.importorskip("openvino" if backend == "openvino" else "onnxruntime")
    model = load(tiny_bundle(tmp_path / "b"), backend)
    found = model.search(SEARCH, model.template(TEMPLATE), score_map=True)
    assert np.allclose(found.box, 0.45)  # 3 colours of 100 + 50, weighted with 1 / 1000
    assert np.allclose(found.score, 150)


def test_a_graph_the_runtime_refuses_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tiny_bundle(tmp_path / "b", lambda models: setattr(models["search"].graph.node[0], "op_type", "Nothing"))
    with pytest.raises(BackendError, match=r"cannot load .*search\.onnx"):
        load(folder)
    assert capfd.readouterr().out == ""  # stdout is for results


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["tracker"].update(template_size=10**9), "template_size 1000000000"),
        (lambda m: m["tracker"].update(search_size=-256), "search_size -256"),
        (lambda m: m["tracker"].update(stride=0), "stride of 0"),
        (lambda m: m["tracker"].update(search_factor=float("nan")), "search_factor is no finite number"),
        (lambda m: m["tracker"].update(search_factor=10**400), "search_factor is no finite number"),
        (lambda m: m["tracker"].update(search_factor=1e9), "factors 2 and 1e.09"),
        (lambda m: m["tracker"].update(template_factor=100.5), "factors 100.5 and 4"),
        (lambda m: m["tracker"].update(search_factor=100.5), "factors 2 and 100.5"),
        (lambda m: m["tracker"].update(colour="RGB"), "colour RGB"),
        (lambda m: m["checkpoint"].update(file="c.pth"), "no .safetensors file"),
        (lambda m: m["graphs"][1].update(file="search.xml"), "no .onnx file"),
        (lambda m: m["graphs"][1].update(file="c:search.onnx"), "outside its folder"),
        (lambda m: m.update(name="a\x1b[2J"), "cannot be printed"),
        (lambda m: m["graphs"][1].update(file="a\0.onnx"), "cannot be printed"),
        (lambda m: m["graphs"][1].update(file="\ud800.onnx"), "cannot be printed"),
        (lambda m: m["graphs"][0]["inputs"][0].update(shape=["n", 64, 64, 3]), "takes no crops"),
        (lambda m: m["graphs"][1]["inputs"][0].update(shape=["n", 64, 64, 3]), "takes no crops"),
        (lambda m: m["graphs"][1]["outputs"].pop(), "no box, score"),
        # four faults, of which three are named
        (
            lambda m: m["tracker"].update(template_size=9, search_size=9),
            r"\(tracker[^;]*; tracker[^;]*; graph[^;]*\): do not",
        ),
    ],
)
def test_manifests_nothing_can_be_made_of(tmp_path: Path, change: Callable[[Any], object], message: str) -> None:
    folder = tiny_bundle(tmp_path / "b")
    edit(folder, change)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


@pytest.mark.parametrize(
    "tracker",
    [
        {"stride": 1},
        {"stride": 128},
        {"search_size": 4096},
        {"template_factor": 1, "search_factor": 1},
        {"template_factor": 100, "search_factor": 100},
    ],
)
def test_manifests_at_their_bounds(tmp_path: Path, tracker: dict[str, int]) -> None:
    folder = tiny_bundle(tmp_path / "b")

    def change(manifest: Any) -> None:
        spec = manifest["tracker"]
        spec.update(tracker)
        size, grid = spec["search_size"], spec["search_size"] // spec["stride"]
        manifest["graphs"][1]["inputs"][0]["shape"] = ["n", size, size, 3]
        manifest["graphs"][1]["outputs"][2]["shape"] = ["n", grid, grid]
        manifest["graphs"][1]["file"] = "X.onnx"  # any plain name

    edit(folder, change)
    assert open_bundle(folder).manifest.tracker.search_factor >= 1


@pytest.mark.parametrize("file", ["search.onnx", "manifest.json", "checkpoint.safetensors"])
def test_links_out_of_the_folder(tmp_path: Path, file: str) -> None:
    folder = tiny_bundle(tmp_path / "b")
    (folder / file).rename(tmp_path / "elsewhere")
    (folder / file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        open_bundle(folder).verify()


def test_a_bundle_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tiny_bundle(tmp_path / "b"))
    open_bundle(tmp_path / "link").verify()


def external(models: dict[str, Any], location: str) -> None:
    weight = next(w for w in models["search"].graph.initializer if w.name == "weight")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize("location", ["../weights", "weights", "/etc/hostname"])
def test_values_in_other_files(tmp_path: Path, location: str, backend: str) -> None:
    pytest.importorskip("openvino" if backend == "openvino" else "onnxruntime")
    folder = tiny_bundle(tmp_path / "b", lambda models: external(models, location))
    for place in (folder, tmp_path):
        (place / "weights").write_bytes(bytes(48))
    with pytest.raises(BundleError, match="keeps values in other files"):
        load(folder, backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.graph.input[0], "name", "image"), "other inputs"),
        (lambda m: m.graph.input.pop(), "other inputs"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 1), "other inputs"),
        (lambda m: m.graph.output.pop(), "other outputs"),
        (lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 5), "other outputs"),
        (lambda m: m.ClearField("graph"), "no ONNX model"),
    ],
)
def test_graphs_that_are_not_what_the_manifest_says(
    tmp_path: Path, change: Callable[[Any], object], message: str
) -> None:
    folder = tiny_bundle(tmp_path / "b")
    model = search()
    change(model)
    restate(folder, "search", model.SerializeToString())
    with pytest.raises(BundleError, match=message):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"<net/>", b"\xff" * 40, b"PK\x03\x04"])
def test_files_that_are_no_graphs(tmp_path: Path, content: bytes) -> None:
    folder = tiny_bundle(tmp_path / "b")
    restate(folder, "search", content)
    with pytest.raises(BundleError, match="no ONNX model"):
        load(folder)


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_a_graph_that_gives_another_box_than_it_declares(tmp_path: Path, backend: str) -> None:
    pytest.importorskip("openvino" if backend == "openvino" else "onnxruntime")
    folder = tiny_bundle(tmp_path / "b")
    restate(folder, "search", search(numbers=5).SerializeToString())
    with pytest.raises(BackendError):
        load(folder, backend).search(SEARCH, {"features": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize("operator", ["Nonsense", "Reshape"])
def test_operators_that_do_not_run(tmp_path: Path, backend: str, operator: str) -> None:
    """One the runtime does not know, and one that fails only when it runs: six values into 16 x 16."""
    pytest.importorskip("openvino" if backend == "openvino" else "onnxruntime")
    folder = tiny_bundle(tmp_path / "b")
    model = search()
    model.graph.node[2].op_type = operator
    model.graph.node[2].input[1] = "to" if operator == "Reshape" else "features"
    restate(folder, "search", model.SerializeToString())
    with pytest.raises(BackendError):
        load(folder, backend).search(SEARCH, {"features": np.zeros((2, 3), np.float32)})


def engine(folder: Path, content: bytes = b"engine") -> Path:
    """An engine for the bundle's search graph, with its sidecar."""
    place = folder / "engines" / "tensorrt-10.3-gpu"
    place.mkdir(parents=True)
    path = place / "search.fp32.engine"
    path.write_bytes(content)
    info = sidecar() | {"file": path.name, "precision": "fp32", "sha256": sha256(path)}
    info["graph_sha256"] = sha256(folder / "search.onnx")
    path.with_suffix(".json").write_text(json.dumps(info))
    return path


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "{", '{"format": 1e999}', "[]", '{"build_seconds": 1' + "0" * 400 + "}"]
)
def test_sidecars_that_cannot_be_read_are_passed_over(tmp_path: Path, content: str) -> None:
    folder = tiny_bundle(tmp_path / "b")
    path = engine(folder)
    assert len(list(stored_engines(open_bundle(folder)))) == 1
    path.with_suffix(".json").write_text(content)
    assert not list(stored_engines(open_bundle(folder)))


def test_engines_outside_the_bundle_are_passed_over(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "b")
    path = engine(folder)
    path.rename(tmp_path / "elsewhere.engine")
    path.symlink_to(tmp_path / "elsewhere.engine")
    assert not list(stored_engines(open_bundle(folder)))


def test_an_engine_is_hashed_before_triton_gets_it(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "b")
    path = engine(folder)
    other = json.loads(path.with_suffix(".json").read_text()) | {
        "file": "template.fp32.engine", "role": "template", "graph_sha256": sha256(folder / "template.onnx"),
    }  # fmt: skip
    path.with_name("template.fp32.engine").write_bytes(path.read_bytes())
    path.with_name("template.fp32.json").write_text(json.dumps(other))
    options = TritonOptions(platform="tensorrt")
    write_repository(open_bundle(folder), tmp_path / "good", options)
    path.write_bytes(b"edited")
    with pytest.raises(BundleError, match="is damaged"):
        write_repository(open_bundle(folder), tmp_path / "bad", options)
