"""Opening a device where there is none: one sentence, nothing crashes."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types

import pytest

from mvt_deploy.backends.tensorrt.device import open_device
from mvt_deploy.backends.tensorrt.device.base import version_text
from mvt_deploy.errors import BackendError, MissingExtra

cuda_python = pytest.importorskip("mvt_deploy.backends.tensorrt.device.cuda_python", exc_type=ImportError)
SUCCESS, OLD = cuda_python.cudart.cudaError_t.cudaSuccess, cuda_python.cudart.cudaError_t.cudaErrorInsufficientDriver


def _counts(monkeypatch: pytest.MonkeyPatch, answer: tuple[object, int | None], driver: int) -> None:
    monkeypatch.setattr(cuda_python.cudart, "cudaGetDeviceCount", lambda: answer)
    monkeypatch.setattr(cuda_python.cudart, "cudaDriverGetVersion", lambda: (SUCCESS, driver))
    monkeypatch.setattr(cuda_python.cudart, "cudaRuntimeGetVersion", lambda: (SUCCESS, 13000))


def _uninstall(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Make packages and all their modules impossible to import."""
    known = [name for name in sys.modules if name.split(".")[0] in packages]
    for name in (*packages, *known):
        monkeypatch.setitem(sys.modules, name, None)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    _counts(monkeypatch, (OLD, None), 0)
    with pytest.raises(BackendError, match=r"no NVIDIA GPU .*cudaErrorInsufficientDriver.*--backend ort"):
        open_device()


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _counts(monkeypatch, (SUCCESS, 0), 13000)
    with pytest.raises(BackendError, match="CUDA counts 0 devices"):
        open_device()


def test_a_driver_older_than_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _counts(monkeypatch, (OLD, None), 12060)
    with pytest.raises(BackendError, match=r"serves CUDA 12\.6, cuda-python is made for 13\.0.*'cuda-python<13'"):
        open_device()


def test_nothing_is_touched_before_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    _counts(monkeypatch, (SUCCESS, 0), 13000)
    for name in ("cudaSetDevice", "cudaGetDeviceProperties", "cudaMalloc"):
        monkeypatch.setattr(cuda_python.cudart, name, lambda *_: pytest.fail("touched"))
    with pytest.raises(BackendError):
        cuda_python.CudaPython()


def test_neither_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _uninstall(monkeypatch, "cuda", "pycuda")
    with pytest.raises(MissingExtra, match=r"cuda-python.*mvt-deploy\[trt\]"):
        open_device()


def test_pycuda_where_only_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:
        pass

    _uninstall(monkeypatch, "cuda")
    pycuda = types.ModuleType("pycuda")
    pycuda.__spec__ = importlib.machinery.ModuleSpec("pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda", pycuda)
    stand_in = types.ModuleType("mvt_deploy.backends.tensorrt.device.py_cuda")
    stand_in.PyCuda = Made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mvt_deploy.backends.tensorrt.device.py_cuda", stand_in)
    assert isinstance(open_device(), Made)


def test_pycuda_never_makes_a_context_of_its_own() -> None:
    spec = importlib.util.find_spec("mvt_deploy.backends.tensorrt.device.py_cuda")
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as file:
        source = file.read()
    assert "import pycuda.autoinit" not in source
    assert "make_context" not in source
    assert "retain_primary_context" in source


def test_versions() -> None:
    assert [version_text(n) for n in (12060, 13000, 13010, 11080)] == ["12.6", "13.0", "13.1", "11.8"]
