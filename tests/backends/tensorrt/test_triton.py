"""The model repository, against Triton's published schema."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("google.protobuf")
import ort_engine
from google.protobuf import text_format
from host_device import HostDevice

from mvt_deploy.backends.tensorrt.triton import TritonOptions, write_repository
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.errors import BundleError, UserError


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """``model_config.proto`` as NVIDIA's client package ships it; loaded alone, without the client's own needs."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.origin is None:
        pytest.skip("tritonclient, which ships Triton's schema, is not installed: pip install '.[dev]'")
    path = Path(package.origin).parent / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh(bundle: Path, tmp_path: Path) -> Bundle:
    folder = tmp_path / "mvt"
    shutil.copytree(bundle, folder)
    return open_bundle(folder)


def _read(schema: ModuleType, folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())


def test_onnx(fresh: Bundle, tmp_path: Path, schema: ModuleType) -> None:
    options = TritonOptions(precision="fp16", max_batch=32, instances=2, kind="gpu", delay=300)
    template, search = write_repository(fresh, tmp_path / "repository", options)
    assert [p.name for p in (template, search)] == ["mvt_template", "mvt_search"]
    assert (search / "1" / "model.onnx").read_bytes() == (fresh.folder / "search.fp16.onnx").read_bytes()
    made = _read(schema, search)
    assert (made.name, made.platform, made.max_batch_size) == ("mvt_search", "onnxruntime_onnx", 32)
    types = {name: schema.DataType.Value(name) for name in ("TYPE_UINT8", "TYPE_FP16", "TYPE_FP32")}
    assert {i.name: (i.data_type, list(i.dims)) for i in made.input} == {
        "crop": (types["TYPE_UINT8"], [256, 256, 3]),
        "features": (types["TYPE_FP16"], [96, 16, 16]),
        "tokens": (types["TYPE_FP16"], [4, 64, 144]),
        "qkv": (types["TYPE_FP16"], [4, 64, 432]),
    }
    assert {o.name: (o.data_type, list(o.dims)) for o in made.output} == {
        "box": (types["TYPE_FP32"], [4]),
        "score": (types["TYPE_FP32"], [1]),
        "score_map": (types["TYPE_FP32"], [16, 16]),
    }
    score = next(o for o in made.output if o.name == "score")
    assert score.HasField("reshape")
    assert list(score.reshape.shape) == []
    assert list(made.dynamic_batching.preferred_batch_size) == [2, 4, 8, 16, 32]
    assert made.dynamic_batching.max_queue_delay_microseconds == 300
    (group,) = made.instance_group
    assert (group.count, group.kind) == (2, schema.ModelInstanceGroup.KIND_GPU)
    features = {o.name: (o.data_type, list(o.dims)) for o in _read(schema, template).output}
    assert features == {i.name: (i.data_type, list(i.dims)) for i in made.input if i.name != "crop"}


def test_tensorrt(fresh: Bundle, tmp_path: Path, schema: ModuleType) -> None:
    options = TritonOptions("tensorrt", "fp16", name="tracker")
    with pytest.raises(BundleError, match=r"mvt-deploy build --fp16 --flavour tensorrt,  or use --platform onnx"):
        write_repository(fresh, tmp_path / "repository", options)
    assert not (tmp_path / "repository").exists()
    device = HostDevice()
    ort_engine.store(fresh, "fp16", ort_engine.flavour(device), device)
    _, search = write_repository(fresh, tmp_path / "repository", options)
    made = _read(schema, search)
    assert (made.platform, made.max_batch_size) == ("tensorrt_plan", 8)  # no more than the engine takes
    assert list(made.instance_group[0].profile) == ["0", "1"]
    assert (search / "1" / "model.plan").is_file()
    ort_engine.store(fresh, "fp16", ort_engine.flavour(device, "11.0.0"), device)
    with pytest.raises(BundleError, match="several engines"):
        write_repository(fresh, tmp_path / "repository", options)


def test_one_request_at_a_time(fresh: Bundle, tmp_path: Path, schema: ModuleType) -> None:
    _, search = write_repository(fresh, tmp_path / "repository", TritonOptions(max_batch=1))
    assert not _read(schema, search).HasField("dynamic_batching")


def test_other_models_stay(fresh: Bundle, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "detector").mkdir(parents=True)
    write_repository(fresh, repository, TritonOptions())
    write_repository(fresh, repository, TritonOptions(precision="fp16"))
    assert sorted(p.name for p in repository.iterdir()) == ["detector", "mvt_search", "mvt_template"]
    assert (repository / "mvt_search" / "1" / "model.onnx").stat().st_size < 10_000_000
    shutil.rmtree(repository / "mvt_search")
    (repository / "mvt_search").mkdir()
    (repository / "mvt_search" / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="is no Triton model"):
        write_repository(fresh, repository, TritonOptions())
    assert (repository / "mvt_search" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    "wrong",
    [{"platform": "pytorch"}, {"kind": "tpu"}, {"max_batch": 0}, {"instances": 0}, {"delay": -1}, {"name": "a/b"}],
)
def test_options_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        TritonOptions(**wrong)  # type: ignore[arg-type]
