"""The TensorRT runner: same answers as ONNX Runtime, fixed memory, one launch a frame, engines that fit."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ort_engine
import pytest
from host_device import GPU, HostDevice

from mvt_deploy import Tracker, load
from mvt_deploy.backends.base import SearchResult
from mvt_deploy.backends.tensorrt.device import Gpu
from mvt_deploy.backends.tensorrt.runner import DEPTH, TensorRtBackend
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.crops import CropPairs, photograph_pairs
from mvt_deploy.errors import BackendError, MissingExtra, NonFiniteError


@pytest.fixture
def fresh(bundle: Path, tmp_path: Path) -> Bundle:
    folder = tmp_path / "mvt"
    shutil.copytree(bundle, folder)
    return open_bundle(folder)


@pytest.fixture(scope="module")
def built(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("built") / "mvt"
    shutil.copytree(bundle, folder)
    opened = open_bundle(folder)
    device = HostDevice()
    for precision in ("fp32", "fp16"):
        ort_engine.store(opened, precision, ort_engine.flavour(device), device)
    return opened


@pytest.fixture(scope="module")
def pairs() -> CropPairs:
    return photograph_pairs(4, seed=5)


@pytest.fixture(scope="module")
def expected(bundle: Path, pairs: CropPairs) -> SearchResult:
    model = load(bundle)
    return model.search(pairs.search, model.template(pairs.template), score_map=True)


@pytest.fixture
def device() -> HostDevice:
    return HostDevice()


@pytest.fixture
def model(built: Bundle, device: HostDevice) -> Iterator[TensorRtBackend]:
    opened = TensorRtBackend(built, "fp32", device=device, flavours=[ort_engine.flavour(device)])
    yield opened
    opened.close()


def same(found: SearchResult, expected: SearchResult, rows: slice = slice(None), tolerance: float = 1e-4) -> None:
    for a, b in zip(found, expected, strict=True):
        if a is not None and b is not None:
            assert np.abs(a - b[rows]).max() < tolerance


def test_same_answer(model: TensorRtBackend, pairs: CropPairs, expected: SearchResult) -> None:
    features = model.template(pairs.template)
    same(model.search(pairs.search, features, score_map=True), expected)
    found = model.search(pairs.search, features)
    same(found, expected)
    assert found.score_map is None


def test_features_stay_half_between_half_engines(built: Bundle, pairs: CropPairs) -> None:
    device = HostDevice()
    model = TensorRtBackend(built, device=device, flavours=[ort_engine.flavour(device)])
    assert model.label == "trt fp16 (TensorRT 10.13.0)"  # the best one built is the default
    features = model.template(pairs.template)
    assert features.sizes["qkv"] == 4 * 4 * 64 * 432 * 2
    half = load(built.folder, precision="fp16")
    same(model.search(pairs.search, features), half.search(pairs.search, half.template(pairs.template)))


def test_a_frame_is_one_launch_and_no_allocation(
    model: TensorRtBackend, device: HostDevice, pairs: CropPairs, expected: SearchResult
) -> None:
    features = model.template(pairs.template[:1])
    model.search(pairs.search[:1], features)
    allocations = device.allocations
    for i in (0, 0, 0):
        same(model.search(pairs.search[i : i + 1], features), expected, slice(i, i + 1))
    assert device.allocations == allocations
    assert [g.launches for g in device.graphs] == [4]


def test_without_graphs_the_answer_is_the_same(built: Bundle, pairs: CropPairs, expected: SearchResult) -> None:
    device = HostDevice(graphs=False)
    model = TensorRtBackend(built, "fp32", device=device, flavours=[ort_engine.flavour(device)])
    features = model.template(pairs.template)
    for _ in range(2):
        same(model.search(pairs.search, features), expected)


def test_targets_take_turns_on_one_backend(
    model: TensorRtBackend, pairs: CropPairs, expected: SearchResult, device: HostDevice
) -> None:
    features = [model.template(pairs.template[i : i + 1]) for i in range(3)]
    for i in (0, 1, 2, 1, 0):
        same(model.search(pairs.search[i : i + 1], features[i]), expected, slice(i, i + 1))
    before = len(device.memory)
    del features
    gc.collect()
    assert before - len(device.memory) == 2 * 3  # the last one's three tensors are still where a search may follow


@pytest.mark.slow
def test_batches_of_any_size_and_memory_of_few(
    model: TensorRtBackend, device: HostDevice, pairs: CropPairs, expected: SearchResult
) -> None:
    for n in (1, 2, 3, 4, 1):
        same(model.search(pairs.search[:n], model.template(pairs.template[:n])), expected, slice(0, n))
    many = np.concatenate([pairs.search] * 2)
    for n in (5, 6, 7, 8):
        model.search(many[:n], model.template(np.concatenate([pairs.template] * 2)[:n]))
    gc.collect()
    assert len(device.queues) == 4  # one stream for each number of targets that is still kept


def test_two_in_flight_the_third_waits(
    model: TensorRtBackend, device: HostDevice, pairs: CropPairs, expected: SearchResult
) -> None:
    features = [model.template(pairs.template[i : i + 1]) for i in range(4)]
    crops = pairs.search[:1].copy()
    pending = []
    for i in range(4):
        crops[:] = pairs.search[i]  # the caller's array is free again at once
        pending.append(model.submit(crops, features[i], score_map=i == 3))
    for i in (3, 1, 0, 2):
        same(pending[i].result(), expected, slice(i, i + 1))
        same(pending[i].result(), expected, slice(i, i + 1))
    assert pending[3].result().score_map is not None
    assert len(device.queues) == DEPTH


def test_stream_cuts_while_the_gpu_works(model: TensorRtBackend, pairs: CropPairs, expected: SearchResult) -> None:
    features = [model.template(pairs.template[i : i + 1]) for i in range(4)]
    taken: list[int] = []

    def batches() -> Iterator[tuple[np.ndarray, object]]:
        for i in range(4):
            taken.append(i)
            yield pairs.search[i : i + 1], features[i]

    results = []
    for found in model.stream(batches()):  # type: ignore[arg-type]
        results.append(found)
        assert len(taken) == min(len(results) + 1, 4)  # the next one was cut before this one was waited for
    for i, found in enumerate(results):
        same(found, expected, slice(i, i + 1))
    assert len(results) == 4


def test_a_tracker_on_it(model: TensorRtBackend, bundle: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    boxes = [(100, 80, 40, 50), (200, 120, 60, 40)]
    tracks = []
    for backend in (model, load(bundle)):
        tracker = Tracker(backend, lost=None)
        tracker.init(frame, boxes)
        tracks.append([t.box.as_tuple() for _ in range(3) for t in tracker.update_all(frame)])
    assert np.abs(np.array(tracks[0]) - np.array(tracks[1])).max() < 0.05


def test_what_is_not_finite_never_becomes_a_box(
    model: TensorRtBackend, device: HostDevice, pairs: CropPairs, expected: SearchResult
) -> None:
    good, bad = model.template(pairs.template[:1]), model.template(pairs.template[:1])
    device.memory[bad.addresses["features"]].view(np.float32)[:] = np.nan
    with pytest.raises(NonFiniteError):
        model.search(pairs.search[:1], bad)
    pending = [model.submit(pairs.search[:1], f) for f in (bad, good, good)]
    same(pending[2].result(), expected, slice(0, 1))  # an earlier search's fault stays its own
    with pytest.raises(NonFiniteError):
        pending[0].result()


def test_wrong_input_is_refused(model: TensorRtBackend, pairs: CropPairs) -> None:
    features = model.template(pairs.template[:2])
    with pytest.raises(BackendError, match="crops are uint8"):
        model.search(pairs.template, features)
    with pytest.raises(BackendError, match="one crop per target"):
        model.search(pairs.search, features)
    many = np.repeat(pairs.template[:1], 9, axis=0)
    with pytest.raises(BackendError, match=r"up to 8 targets at once, not 9: .*--max-batch 9"):
        model.template(many)


def test_close_frees_everything_twice(built: Bundle, pairs: CropPairs) -> None:
    device = HostDevice()
    model = TensorRtBackend(built, "fp32", device=device, flavours=[ort_engine.flavour(device)])
    model.submit(pairs.search[:1], model.template(pairs.template[:1]))
    model.close()
    model.close()
    assert device.closed
    assert not device.memory


def opening(bundle: Bundle, device: HostDevice, version: str = "10.13.0", precision: str | None = "fp32") -> None:
    TensorRtBackend(bundle, precision, device=device, flavours=[ort_engine.flavour(device, version)]).close()


def test_no_engine_yet(fresh: Bundle, device: HostDevice) -> None:
    with pytest.raises(
        BackendError,
        match=r"no fp16 search engine, found TensorRT 10\.13\.0 on Test GPU \(8\.9\): run  mvt-deploy build --fp16",
    ):
        opening(fresh, device, precision=None)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"version": "10.3.0"},
            "another TensorRT) built for TensorRT 10.3.0 on Test GPU (8.9), found TensorRT 10.13.0",
        ),
        ({"gpu": "Orin", "compute_capabilities": ["8.7"]}, "another GPU) built for TensorRT 10.13.0 on Orin (8.7)"),
        ({"gpu": "Other GPU"}, "another GPU) built for TensorRT 10.13.0 on Other GPU (8.9)"),
        ({"graph_sha256": "0" * 64}, "another graph) built for"),
        ({"sha256": "0" * 64}, "a damaged file) built for"),
        ({"flavour": "tensorrt_rtx"}, "built for TensorRT-RTX 10.13.0"),
    ],
)
def test_an_engine_that_does_not_fit(fresh: Bundle, device: HostDevice, changed: dict[str, Any], says: str) -> None:
    ort_engine.store(fresh, "fp32", ort_engine.flavour(device), device, **changed)
    with pytest.raises(BackendError) as caught:
        opening(fresh, device)
    assert says in str(caught.value)
    assert f"run  mvt-deploy build --model {fresh.folder}." in str(caught.value)


def test_the_right_one_of_several(fresh: Bundle, pairs: CropPairs, expected: SearchResult) -> None:
    orin = HostDevice(Gpu("Orin", "8.7", "", "12.6", 1 << 33))
    here = HostDevice(GPU)
    ort_engine.store(fresh, "fp32", ort_engine.flavour(orin, "10.3.0"), orin)
    ort_engine.store(fresh, "fp32", ort_engine.flavour(here, "11.4.0"), here)
    model = TensorRtBackend(fresh, "fp32", device=here, flavours=[ort_engine.flavour(here, "11.4.0")])
    assert model.label == "trt fp32 (TensorRT 11.4.0)"
    same(model.search(pairs.search, model.template(pairs.template)), expected)


def test_an_engine_for_any_gpu_of_a_capability(fresh: Bundle, device: HostDevice) -> None:
    rtx = ort_engine.flavour(device, "1.7.1", "tensorrt_rtx")
    ort_engine.store(fresh, "fp32", rtx, device, gpu="", compute_capabilities=["8.6", "8.9"])
    TensorRtBackend(fresh, device=device, flavours=[rtx]).close()
    hopper = HostDevice(Gpu("NVIDIA H100", "9.0", "", "13.0", 1 << 36))
    with pytest.raises(
        BackendError,
        match=r"built for TensorRT-RTX 1\.7\.1 on any GPU \(8\.6, 8\.9\), found .* on NVIDIA H100 \(9\.0\)",
    ):
        TensorRtBackend(fresh, "fp32", device=hopper, flavours=[ort_engine.flavour(hopper, "1.7.1", "tensorrt_rtx")])


def test_a_file_tensorrt_refuses(fresh: Bundle, device: HostDevice) -> None:
    ort_engine.store(fresh, "fp32", ort_engine.flavour(device), device, blob=b"not an engine")
    with pytest.raises(BackendError, match=r"cannot load .*search\.fp32\.engine, built for .*mvt-deploy build"):
        opening(fresh, device)


def test_a_broken_sidecar_is_no_engine(fresh: Bundle, device: HostDevice) -> None:
    for engine in ort_engine.store(fresh, "fp32", ort_engine.flavour(device), device):
        engine.path.with_suffix(".json").write_text("{")
    with pytest.raises(BackendError, match="no fp32 search engine"):
        opening(fresh, device)


def test_nothing_installed(fresh: Bundle, device: HostDevice) -> None:
    with pytest.raises(MissingExtra, match=r"mvt-deploy\[trt\]"):
        TensorRtBackend(fresh, device=device, flavours=[])
    with pytest.raises(BackendError, match="fp16, int8, fp32, not bf16"):
        TensorRtBackend(fresh, "bf16", device=device, flavours=[ort_engine.flavour(device)])
