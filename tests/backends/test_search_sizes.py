"""Search crops of several sides: each backend opens what the bundle holds, and picks the graph by the crops' shape."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
sys.path.insert(0, str(Path(__file__).parent.parent / "fuzz"))
sys.path.insert(0, str(Path(__file__).parent / "tensorrt"))
import ort_engine
from host_device import HostDevice
from tiny import tiny_bundle

from mvt_deploy import load
from mvt_deploy.backends.base import Backend
from mvt_deploy.backends.tensorrt.runner import TensorRtBackend
from mvt_deploy.bundle import Bundle, SearchSize, TrackerSpec, open_bundle
from mvt_deploy.errors import BackendError, BundleError

SIDES = (192, 224, 256, 320)
BACKENDS = ["ort", "openvino", "trt"]


@pytest.fixture(scope="module")
def dial(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of four sides, with an engine of each for a stand-in of TensorRT."""
    bundle = open_bundle(tiny_bundle(tmp_path_factory.mktemp("dial") / "b", sides=SIDES))
    device = HostDevice()
    for side in SIDES:
        ort_engine.store(bundle, "fp32", ort_engine.flavour(device), device, search_size=side)
    return bundle


def opened(bundle: Bundle, backend: str, search_size: SearchSize = None) -> Backend:
    if backend == "trt":
        device = HostDevice()
        flavours = [ort_engine.flavour(device)]
        return TensorRtBackend(bundle, "fp32", search_size=search_size, device=device, flavours=flavours)
    if backend == "openvino":
        pytest.importorskip("openvino")
    return load(bundle.folder, backend, search_size=search_size)


def crops(side: int, value: int, n: int = 2) -> np.ndarray:
    return np.full((n, side, side, 3), value, np.uint8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_of_them_in_turns(dial: Bundle, backend: str) -> None:
    with opened(dial, backend, "auto") as model:
        assert model.search_sizes == SIDES
        assert model.spec == TrackerSpec()
        assert len(model.files) == 1 + len(SIDES)
        assert model.model_bytes == sum(file.stat().st_size for file in model.files)
        features = model.template(crops(128, 100))
        for round_ in range(2):
            for side in SIDES:
                value = side // 4 + round_  # each side and round has its own answer: 3 colours of both, over 1000
                found = model.search(crops(side, value), features, score_map=True)
                np.testing.assert_allclose(found.box, np.full((2, 4), 3 * (100 + value) / 1000), rtol=1e-5)
                assert found.score_map is not None
                assert found.score_map.shape == (2, side // 16, side // 16)
        with pytest.raises(BackendError, match=r"\[n, 192, 192, 3\] or .* or \[n, 320, 320, 3\], not uint8 .*288"):
            model.search(crops(288, 1), features)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_of_them_alone(dial: Bundle, backend: str) -> None:
    with opened(dial, backend, 192) as model:
        assert model.search_sizes == (192,)
        assert model.spec == TrackerSpec(search_size=192, search_factor=3.0)
        found = model.search(crops(192, 50), model.template(crops(128, 100)))
        np.testing.assert_allclose(found.box, np.full((2, 4), 0.45), rtol=1e-5)
        with pytest.raises(BackendError, match=r"crops are uint8 BGR \[n, 192, 192, 3\], not"):
            model.search(crops(256, 50), model.template(crops(128, 100)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_default_side(dial: Bundle, backend: str) -> None:
    with opened(dial, backend) as model:
        assert (model.search_sizes, model.spec) == ((256,), TrackerSpec())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_side_that_is_not_there(dial: Bundle, backend: str) -> None:
    with pytest.raises(BundleError, match=r"no fp32 search graph of side 288, only of 192 and 224 and 256 and 320"):
        opened(dial, backend, 288)


@pytest.mark.parametrize("size", [0, -256, 256.0, "256", True])
def test_what_is_no_side(dial: Bundle, size: object) -> None:
    with pytest.raises(BackendError, match="search size is a side in pixels"):
        load(dial.folder, search_size=size)  # type: ignore[arg-type]


def test_a_side_without_an_engine(tmp_path: Path) -> None:
    bundle = open_bundle(tiny_bundle(tmp_path / "b", sides=(192, 256)))
    device = HostDevice()
    ort_engine.store(bundle, "fp32", ort_engine.flavour(device), device)
    assert opened(bundle, "trt").search_sizes == (256,)
    with pytest.raises(BackendError, match=r"no fp32 search engine of side 192, found .* mvt-deploy build"):
        opened(bundle, "trt", "auto")


@pytest.mark.slow
def test_pytorch_takes_any_side() -> None:
    """The same target at the same density: where it is clear at every side, the boxes agree."""
    pytest.importorskip("torch")
    from mvt_deploy.assets import asset
    from mvt_deploy.backends.torch import TorchBackend
    from mvt_deploy.crops import photograph_pairs

    with TorchBackend(asset("mvt.safetensors"), search_size="auto") as model:
        assert model.search_sizes == SIDES
        boxes, scores = {}, {}
        for side in (192, 256, 320):
            pairs = photograph_pairs(6, seed=5, search_size=side)
            found = model.search(pairs.search, model.template(pairs.template), score_map=True)
            assert found.score_map is not None
            assert found.score_map.shape == (6, side // 16, side // 16)
            boxes[side] = found.box * side - np.array([side / 2, side / 2, 0, 0])  # pixels from the crop's centre
            scores[side] = found.score
        clear = np.min(list(scores.values()), axis=0) > 0.5
        assert clear.sum() >= 3
        for side in (192, 320):
            assert np.abs(boxes[side] - boxes[256])[clear, :2].max() < 2
            assert np.abs(boxes[side] / boxes[256] - 1)[clear, 2:].max() < 0.1
    with TorchBackend(asset("mvt.safetensors"), search_size=160) as model:
        assert (model.search_sizes, model.spec.search_factor) == ((160,), 2.5)
    with pytest.raises(BundleError, match="multiple of 32 pixels"):
        TorchBackend(asset("mvt.safetensors"), search_size=200)
