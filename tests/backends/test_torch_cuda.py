"""PyTorch's half precisions, with the code the GPU runs, on the CPU; what a GPU adds is in ``tests/gpu``."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mvt_deploy.assets import asset
from mvt_deploy.backends.torch import TorchBackend
from mvt_deploy.backends.torch_cuda import TorchCudaBackend
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import BackendError


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 5e-3), ("bf16", 3e-2)])
def test_close_to_the_reference(precision: str, tolerance: float) -> None:
    pairs = photograph_pairs(2, seed=3)
    reference = TorchBackend(asset("mvt.safetensors"))
    expected = reference.search(pairs.search, reference.template(pairs.template), score_map=True)
    model = TorchCudaBackend(asset("mvt.safetensors"), precision, device="cpu")
    features = model.template(pairs.template)
    found = model.search(pairs.search, features, score_map=True)
    for a, b in zip(found, expected, strict=True):
        assert a is not None
        assert b is not None
        assert a.dtype == np.float32
        assert np.abs(a - b).max() < tolerance
    swapped = model.search(pairs.search[::-1].copy(), features)
    assert np.abs(swapped.box - found.box).max() > tolerance  # other crops in the same memory: another answer
    other = model.search(pairs.search, model.template(pairs.template[::-1].copy()))
    assert np.abs(other.score - found.score).max() > tolerance
    assert np.abs(model.search(pairs.search, features).box - found.box).max() < 1e-6
    with pytest.raises(BackendError, match="one crop per target"):
        model.search(pairs.search[:1], features)
    model.close()


def test_no_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(BackendError, match="built without CUDA"):
        TorchCudaBackend(asset("mvt.safetensors"))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="finds no NVIDIA GPU"):
        TorchCudaBackend(asset("mvt.safetensors"))
    with pytest.raises(BackendError, match="not int8"):
        TorchCudaBackend(asset("mvt.safetensors"), "int8")
