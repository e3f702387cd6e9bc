"""What only a GPU can show: answers, graphs, engines and their life beside PyTorch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("no NVIDIA GPU here (torch.cuda.is_available() is false)", allow_module_level=True)

from mvt_deploy.assets import asset
from mvt_deploy.backends.base import SearchResult
from mvt_deploy.backends.tensorrt.build import BuildOptions, build_engines
from mvt_deploy.backends.tensorrt.device import open_device
from mvt_deploy.backends.tensorrt.flavour import Flavour, installed_flavours
from mvt_deploy.backends.tensorrt.machine import gpu_here
from mvt_deploy.backends.torch import TorchBackend
from mvt_deploy.backends.torch_cuda import TorchCudaBackend
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.crops import CropPairs, photograph_pairs
from mvt_deploy.errors import UserError


@pytest.fixture(scope="module")
def pairs() -> CropPairs:
    return photograph_pairs(8, seed=5)


@pytest.fixture(scope="module")
def expected(pairs: CropPairs) -> SearchResult:
    model = TorchBackend(asset("mvt.safetensors"))
    return model.search(pairs.search, model.template(pairs.template), score_map=True)


def same(found: SearchResult, expected: SearchResult, tolerance: float, rows: slice = slice(None)) -> None:
    for a, b in zip(found, expected, strict=True):
        if a is not None and b is not None:
            assert np.abs(a - b[rows]).max() < tolerance


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 5e-3), ("fp16", 1e-2), ("bf16", 5e-2)])
def test_torch(pairs: CropPairs, expected: SearchResult, precision: str, tolerance: float, graph: bool) -> None:
    model = TorchCudaBackend(asset("mvt.safetensors"), precision, graph=graph)
    for n in (1, 8, 3, 1):
        features = model.template(pairs.template[:n])
        same(model.search(pairs.search[:n], features, score_map=True), expected, tolerance, slice(0, n))
    single = [model.template(pairs.template[i : i + 1]) for i in range(3)]
    for i in (0, 2, 1, 0):  # targets take turns in the same graph
        same(model.search(pairs.search[i : i + 1], single[i]), expected, tolerance, slice(i, i + 1))
    model.close()


def _flavours() -> list[Flavour]:
    gpu = gpu_here()
    usable = []
    for flavour in installed_flavours() if gpu else []:
        try:
            fits = gpu is not None and gpu.compute_capability in flavour.targets(gpu.compute_capability, None)
        except UserError:
            fits = False
        usable += [flavour] if fits else []
    return usable


@pytest.fixture(scope="module", params=_flavours() or (None,), ids=lambda f: f.name if f else "none")
def built(
    request: pytest.FixtureRequest, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Flavour]:
    if request.param is None:
        pytest.skip("neither TensorRT nor a TensorRT-RTX for this GPU is installed (or cuda-python is missing)")
    folder = tmp_path_factory.mktemp("trt") / "mvt"
    shutil.copytree(bundle, folder)
    opened = open_bundle(folder)
    for precision in ("fp32", "fp16"):
        build_engines(opened, precision, request.param, gpu_here(), BuildOptions(max_batch=8))
    return opened, request.param


@pytest.fixture(params=[("fp32", 5e-3), ("fp16", 1e-2)], ids=["fp32", "fp16"])
def engine(request: pytest.FixtureRequest, built: tuple[Bundle, Flavour]) -> Iterator[tuple[object, float]]:
    from mvt_deploy.backends.tensorrt.runner import TensorRtBackend

    precision, tolerance = request.param
    model = TensorRtBackend(built[0], precision, flavours=[built[1]])
    yield model, tolerance
    model.close()


def test_engines_beside_torch(engine: tuple[object, float], pairs: CropPairs, expected: SearchResult) -> None:
    model, tolerance = engine
    tensor = torch.arange(1000, device="cuda")
    for n in (1, 8, 3, 1):
        features = model.template(pairs.template[:n])  # type: ignore[attr-defined]
        found = model.search(pairs.search[:n], features, score_map=True)  # type: ignore[attr-defined]
        same(found, expected, tolerance, slice(0, n))
    other = TorchCudaBackend(asset("mvt.safetensors"), "fp16")
    same(other.search(pairs.search, other.template(pairs.template)), expected, 1e-2)
    assert int(tensor.sum()) == 499_500


def test_two_in_flight(engine: tuple[object, float], pairs: CropPairs, expected: SearchResult) -> None:
    model, tolerance = engine
    features = [model.template(pairs.template[i : i + 1]) for i in range(8)]  # type: ignore[attr-defined]
    batches = ((pairs.search[i : i + 1], features[i]) for i in range(8))
    for i, found in enumerate(model.stream(batches)):  # type: ignore[attr-defined]
        same(found, expected, tolerance, slice(i, i + 1))


def test_a_second_build_reuses_the_timing_cache(built: tuple[Bundle, Flavour]) -> None:
    bundle, flavour = built
    again = build_engines(bundle, "fp16", flavour, gpu_here(), BuildOptions(max_batch=8))
    assert all(engine.info.timing_cache > 0 for engine in again)


def test_the_device_is_the_one_torch_sees() -> None:
    try:
        device = open_device()
    except UserError as error:
        pytest.skip(str(error))
    assert device.gpu.name == torch.cuda.get_device_name(0)
    assert device.gpu.compute_capability == "{}.{}".format(*torch.cuda.get_device_capability(0))
    device.close()
