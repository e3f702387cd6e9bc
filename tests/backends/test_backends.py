"""Every backend gives what the PyTorch reference gives, and refuses what it cannot take."""

from __future__ import annotations

import ctypes
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from fake_backend import Crops, FakeBackend, SearchResult

from mvt_deploy import load
from mvt_deploy.backends.auto import Candidate, fastest
from mvt_deploy.backends.base import Backend, check_result
from mvt_deploy.backends.ort import OrtBackend
from mvt_deploy.bundle import open_bundle
from mvt_deploy.errors import BackendError, NonFiniteError

pytest.importorskip("torch")

from mvt_deploy.crops import CropPairs, photograph_pairs
from mvt_deploy.export.parity import TOLERANCE

KINDS = [
    ("ort", "fp32", 1e-5),
    ("ort", "fp16", TOLERANCE["fp16"]),
    ("torch", "fp32", 1e-6),
    ("openvino", "fp32", 1e-5),
    ("openvino", "bf16", 2e-2),
]


@pytest.fixture(scope="module")
def pairs() -> CropPairs:
    return photograph_pairs(4, seed=5)


@pytest.fixture(scope="module")
def reference(bundle: Path, pairs: CropPairs) -> SearchResult:
    model = load(bundle, "torch")
    return model.search(pairs.search, model.template(pairs.template), score_map=True)


@pytest.fixture(params=KINDS, ids=["-".join(k[:2]) for k in KINDS])
def opened(request: pytest.FixtureRequest, bundle: Path) -> tuple[Backend, float]:
    name, precision, tolerance = request.param
    if name == "openvino":
        pytest.importorskip("openvino")
    try:
        return load(bundle, name, precision=precision), tolerance
    except BackendError as error:
        if precision != "bf16" or "no bf16 arithmetic" not in str(error):
            raise
        pytest.skip(str(error))


def test_same_answer(opened: tuple[Backend, float], pairs: CropPairs, reference: SearchResult) -> None:
    model, tolerance = opened
    found = model.search(pairs.search, model.template(pairs.template), score_map=True)
    assert found.box.dtype == found.score.dtype == np.float32
    assert found.score_map is not None
    assert found.score_map.shape == (4, 16, 16)
    for a, b in zip(found, reference, strict=True):
        assert a is not None
        assert b is not None
        assert np.abs(a - b).max() < tolerance
    assert model.search(pairs.search, model.template(pairs.template)).score_map is None


def test_wrong_crops_are_refused(opened: tuple[Backend, float], pairs: CropPairs) -> None:
    model, _ = opened
    with pytest.raises(BackendError, match="crops are uint8"):
        model.template(pairs.search)
    with pytest.raises(BackendError, match="crops are uint8"):
        model.search(pairs.search.astype(np.float32), model.template(pairs.template))


@pytest.mark.slow
def test_one_session_serves_batches_of_any_size(opened: tuple[Backend, float], pairs: CropPairs) -> None:
    model, tolerance = opened
    for n in (1, 3, 1, 4):
        found = model.search(pairs.search[:n], model.template(pairs.template[:n]))
        again = model.search(pairs.search[:n], model.template(pairs.template[:n]))
        assert np.array_equal(found.box, again.box)
        assert (
            np.abs(found.box[0] - model.search(pairs.search[:1], model.template(pairs.template[:1])).box[0]).max()
            < tolerance
        )


@pytest.mark.slow
def test_auto_takes_the_fastest_that_agrees(bundle: Path, pairs: CropPairs, reference: SearchResult) -> None:
    model = load(bundle, provider="auto")
    found = model.search(pairs.search, model.template(pairs.template))
    assert np.abs(found.box - reference.box).max() < 0.02


def test_auto_passes_over_what_is_wrong_or_not_here() -> None:
    class Fixed(FakeBackend):
        def __init__(self, title: str, box: float, seconds: float, ties: int = 0) -> None:
            super().__init__()
            self.title, self.box, self.seconds, self.ties, self.closed = title, box, seconds, ties, False

        @property
        def label(self) -> str:
            return self.title

        def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
            time.sleep(self.seconds)
            boxes = np.full((len(crops), 4), self.box, np.float32)
            boxes[: self.ties] = 0.9  # near ties that went the other way
            return SearchResult(boxes, np.full(len(crops), 0.5, np.float32))

        def _close(self) -> None:
            self.closed = True

    def identity(backend: Fixed) -> Fixed:
        return backend

    def absent() -> Fixed:
        raise BackendError("not here")

    slow, quick, wrong = Fixed("slow", 0.5, 0.01), Fixed("quick", 0.51, 0.001), Fixed("wrong", 0.6, 0.0)
    tie, gated, off = Fixed("tie", 0.5, 0.0, 1), Fixed("gated", 0.51, 0.0, 1), Fixed("off", 0.6, 0.0)
    candidates = [Candidate(b.label, partial(identity, b)) for b in (quick, wrong, tie)] + [Candidate("absent", absent)]
    best, trials = fastest(lambda: slow, candidates)
    assert best is quick
    assert [t.label for t in trials[:2]] == ["quick", "slow"]
    refused = {"quick": False, "slow": False, "wrong": True, "tie": True, "absent": True}
    assert {t.label: bool(t.refused) for t in trials} == refused
    assert (slow.closed, quick.closed, wrong.closed) == (True, False, True)
    judged = [Candidate(b.label, partial(identity, b), gated=True) for b in (gated, off)]
    best, trials = fastest(lambda: Fixed("slow", 0.5, 0.01), judged)  # the other one was closed
    assert best is gated  # its gate passed: one near tie does not exclude it
    assert {t.label: bool(t.refused) for t in trials} == {"gated": False, "slow": False, "off": True}


def test_openvino_plugin_runs_or_says_why_not(bundle: Path, pairs: CropPairs, reference: SearchResult) -> None:
    pytest.importorskip("onnxruntime_ep_openvino")
    for _ in range(2):  # the second time in a process must say the same
        try:
            model = load(bundle, provider="openvino")
        except BackendError as error:
            assert "offers no device on this processor" in str(error)  # noqa: PT017
            continue
        found = model.search(pairs.search, model.template(pairs.template))
        assert np.abs(found.box - reference.box).max() < 1e-3


def test_close_twice(bundle: Path) -> None:
    model = load(bundle)
    model.close()
    model.close()


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_a_closed_model_says_so(bundle: Path, pairs: CropPairs, backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    model = load(bundle, backend)
    features = model.template(pairs.template[:1])
    model.close()
    with pytest.raises(BackendError, match="was closed"):
        model.search(pairs.search[:1], features)


@pytest.mark.slow
def test_openvino_keeps_few_compiled_graphs(bundle: Path, pairs: CropPairs) -> None:
    """One for every number of targets ever seen would take all memory in the end."""
    pytest.importorskip("openvino")
    model = load(bundle, "openvino")
    first = model.search(pairs.search[:1], model.template(pairs.template[:1]))
    for count in (2, 3, 4):
        model.search(pairs.search[:count], model.template(pairs.template[:count]))
    kept = model.compiled  # type: ignore[attr-defined]
    assert kept == tuple((role, side, n) for n in (3, 4) for role, side in (("template", 128), ("search", 256)))
    again = model.search(pairs.search[:1], model.template(pairs.template[:1]))
    np.testing.assert_array_equal(first.box, again.box)


def test_unknown_names(bundle: Path) -> None:
    with pytest.raises(BackendError, match="no backend 'tpu'"):
        load(bundle, "tpu")
    with pytest.raises(BackendError, match="no precision 'fp64'"):
        load(bundle, precision="fp64")
    with pytest.raises(BackendError, match="threads, 1 to 1024"):
        load(bundle, threads=0)
    with pytest.raises(BackendError, match="no provider 'npu'"):
        load(bundle, provider="npu")
    with pytest.raises(BackendError, match="no bf16"):
        load(bundle, precision="bf16")
    with pytest.raises(BackendError, match="belongs to the ort backend"):
        load(bundle, "torch", provider="cuda")
    with pytest.raises(BackendError, match="fp32 reference"):
        load(bundle, "torch", precision="fp16")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_never_becomes_a_box(value: float) -> None:
    box, score = np.zeros((2, 4), np.float32), np.zeros(2, np.float32)
    check_result(SearchResult(box, score), 2)
    with pytest.raises(NonFiniteError):
        check_result(SearchResult(np.where(np.arange(4) == 2, value, box).astype(np.float32), score), 2)
    with pytest.raises(NonFiniteError):
        check_result(SearchResult(box, np.array([0.5, value], np.float32)), 2)


@pytest.mark.parametrize("shape", [(), (2,), (2, 16), (2, 16, 8), (3, 16, 16)])
def test_a_score_map_of_another_shape_is_one_sentence(shape: tuple[int, ...]) -> None:
    box, score = np.zeros((2, 4), np.float32), np.zeros(2, np.float32)
    with pytest.raises(BackendError, match=r"export the bundle again"):
        check_result(SearchResult(box, score, np.zeros(shape, np.float32)), 2)
    check_result(SearchResult(box, score, np.zeros((2, 16, 16), np.float32)), 2)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory in use is read from /proc")
def test_memory_stays(bundle: Path, pairs: CropPairs) -> None:
    """Two templates and several hundred searches, of one and of two targets in turns."""

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    model = load(bundle)
    templates = [model.template(pairs.template[i : i + n]) for i, n in ((0, 1), (1, 2))]

    def search(times: int) -> None:
        for _ in range(times):
            model.search(pairs.search[:1], templates[0])
            model.search(pairs.search[1:3], templates[1])

    search(25)
    before = resident()
    search(150)
    assert resident() - before < 5  # MB; a crop kept at every search would be 88


def test_the_session_can_be_configured(bundle: Path, pairs: CropPairs) -> None:
    seen = []

    def configure(options: onnxruntime.SessionOptions) -> None:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        seen.append(options.intra_op_num_threads)

    model = OrtBackend(open_bundle(bundle), threads=1, configure=configure)
    assert seen == [1, 1]
    found, wanted = (m.search(pairs.search, m.template(pairs.template)) for m in (model, load(bundle)))
    assert np.abs(found.box - wanted.box).max() < 1e-5


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the allocator's settings are those of Linux")
def test_the_allocator_is_set_unless_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from mvt_deploy import process

    calls: list[tuple[int, int]] = []

    class CLibrary:
        def __init__(self, name: str | None) -> None:
            assert name is None, "the C library of this process"

        @staticmethod
        def mallopt(name: int, value: int) -> int:
            calls.append((name, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", CLibrary)
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX"):
        monkeypatch.delenv(name, raising=False)
    assert process.steady_heap()
    assert sorted(calls) == [(-8, 1), (-3, 1 << 20)]
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not process.steady_heap()
