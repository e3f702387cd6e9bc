"""Engines built for real, by TensorRT-RTX, which needs no GPU for it; its plan says what became of the graphs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from told import Told

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[trt-rtx]'")
onnx = pytest.importorskip("onnx")

from mvt_deploy.backends.tensorrt.build import BuildOptions, build_engines, compile_graph
from mvt_deploy.backends.tensorrt.flavour import RTX, TENSORRT, Flavour, choose_builder, open_flavour
from mvt_deploy.backends.tensorrt.store import OptimizationProfile, stored_engines
from mvt_deploy.bundle import Bundle, TensorInfo, open_bundle
from mvt_deploy.errors import BackendError, BundleError
from mvt_deploy.files import sha256

pytestmark = pytest.mark.slow
ATTENTIONS, CONVOLUTIONS, SEARCH_NORMS = 6, 41, 14


@pytest.fixture(scope="module")
def rtx() -> Flavour:
    return open_flavour(RTX)


@pytest.fixture(scope="module")
def copied(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("engines") / "mvt"
    shutil.copytree(bundle, folder)
    return open_bundle(folder)


def test_fp16_for_one_and_for_any_number(copied: Bundle, rtx: Flavour) -> None:
    progress = Told()
    template, search = build_engines(copied, "fp16", rtx, None, BuildOptions(), progress)
    assert [s.split(" with ")[0] for s in progress.messages] == [
        "building template.fp16.engine",
        "building search.fp16.engine",
    ]
    assert progress.begun
    assert not progress.open
    assert progress.steps > 0
    folder = copied.engines / f"tensorrt_rtx-{rtx.version}-any"
    assert search.path == folder / "search.fp16.engine"
    info = search.info
    assert info.profiles == [OptimizationProfile(1, 1, 1), OptimizationProfile(1, 32, 64)]
    assert info.graph_sha256 == copied.graph("search", "fp16").sha256
    assert info.sha256 == sha256(search.path)
    assert search.path.read_bytes()[:4] != b"{\n"  # pure engine: facts are beside it
    assert json.loads((folder / "search.fp16.json").read_text())["flavour"] == RTX
    assert (info.gpu, info.compute_capabilities[:3]) == ("", ["8.0", "8.6", "8.9"])
    assert info.build_seconds > 0
    assert (folder / "timing.cache").is_file()
    assert info.plan is not None
    assert template.info.plan is not None
    profiles = len(info.profiles)
    assert info.plan.fused_attention == ATTENTIONS * profiles
    assert info.plan.convolutions == CONVOLUTIONS * profiles
    assert info.plan.int8_convolutions == 0
    assert info.plan.layer_norms == SEARCH_NORMS * profiles
    assert info.plan.half_norms == template.info.plan.half_norms == 0
    assert list(stored_engines(copied)) == [search, template]


def test_fp32_for_one_target(copied: Bundle, rtx: Flavour) -> None:
    options = BuildOptions(max_batch=1, compute_capability="8.9")
    template, search = build_engines(copied, "fp32", rtx, None, options)
    assert template.path.parent.name == f"tensorrt_rtx-{rtx.version}-sm89"
    assert search.info.compute_capabilities == ["8.9"]
    assert search.info.profiles == [OptimizationProfile(1, 1, 1)]
    assert search.info.plan is not None
    assert search.info.plan.convolutions == CONVOLUTIONS
    assert search.info.plan.half_norms == 0


def test_int8(copied: Bundle, rtx: Flavour) -> None:
    template, search = build_engines(copied, "int8", rtx, None, BuildOptions(max_batch=1))
    assert (template.info.precision, search.info.precision) == ("fp16", "int8")
    assert template.info.graph_sha256 == copied.graph("template", "fp16").sha256  # features as the search graph wants
    assert search.info.plan is not None
    assert search.info.plan.int8_convolutions == 32
    assert search.info.plan.convolutions == CONVOLUTIONS
    assert search.info.plan.fused_attention == ATTENTIONS
    assert search.info.plan.half_norms == 0


def test_unsafe_int8_is_refused_before_the_build(copied: Bundle, rtx: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvt_deploy.backends.tensorrt.lint.MULTIPLE", 64)
    with pytest.raises(BackendError, match="no int8 kernel"):
        build_engines(copied, "int8", rtx, None)


def test_what_the_parser_refuses_is_said_in_its_words(rtx: Flavour, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 4, 4, 3])
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 3, 4, 4])
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[0, 3, 1, 2])
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, tmp_path / "bytes.onnx")
    with pytest.raises(BackendError, match=r"TensorRT-RTX .* cannot (read|build) .*bytes\.onnx: .*"):
        compile_graph(tmp_path / "bytes.onnx", rtx, BuildOptions(max_batch=1))
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(BackendError, match="cannot read"):
        compile_graph(tmp_path / "text.onnx", rtx, BuildOptions())


def test_a_missing_precision_says_how_to_get_it(copied: Bundle, rtx: Flavour) -> None:
    only = [g for g in copied.manifest.graphs if g.precision == "fp32"]
    bare = Bundle(copied.folder, dataclasses.replace(copied.manifest, graphs=only))
    with pytest.raises(BundleError, match="mvt-deploy export --fp16"):
        build_engines(bare, "fp16", rtx, None)
    odd = dataclasses.replace(only[1], inputs=[only[1].inputs[0], TensorInfo("features", "float16", ["n", 1])])
    with pytest.raises(BundleError, match="no template graph whose features fit"):
        build_engines(Bundle(bare.folder, dataclasses.replace(bare.manifest, graphs=[only[0], odd])), "fp32", rtx, None)


def test_options_and_flavours_that_make_no_sense(rtx: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="--max-batch"):
        BuildOptions(max_batch=0)
    with pytest.raises(BackendError, match="--level"):
        BuildOptions(level=6)
    with pytest.raises(BackendError, match=r"no kernels for compute capability 9\.0: it knows 7\.5, 8\.0"):
        rtx.targets(None, "9.0")
    full = Flavour(TENSORRT, "10.3.0", None)
    with pytest.raises(BackendError, match=r"builds for the GPU in this machine \(8\.7\), not for 8\.9"):
        full.targets("8.7", "8.9")
    monkeypatch.setattr("mvt_deploy.backends.tensorrt.flavour.installed_flavours", lambda: [full])
    with pytest.raises(BackendError, match=r"there is no NVIDIA GPU here.*mvt-deploy\[trt-rtx\]"):
        choose_builder(None, gpu=False)
    monkeypatch.setattr("mvt_deploy.backends.tensorrt.flavour.installed_flavours", lambda: [full, rtx])
    assert choose_builder(None, gpu=False) is rtx
    assert choose_builder(None, gpu=True) is full


def test_strong_typing_by_name_not_by_number(rtx: Flavour) -> None:
    assert rtx.network_flags == 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
