"""The average of networks: its weights are the mean, its batch-norm statistics are those of its own activations."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import ROOT
from safetensors.numpy import load_file
from torch import nn
from training_data import make_data

from mvt_deploy.network import MVT, load_checkpoint, save_checkpoint
from mvt_deploy.network.inference import prepare
from mvt_deploy.training import TrainConfig
from mvt_deploy.training.average import average
from mvt_deploy.training.init import initialise
from mvt_deploy.training.sampler import Batch


def two_networks() -> tuple[MVT, MVT]:
    """A network with random weights, and the same with every parameter changed a little."""
    one = initialise(MVT(), 1)
    other = copy.deepcopy(one)
    torch.manual_seed(2)
    with torch.no_grad():
        for value in other.parameters():
            value.add_(0.1 * value.std() * torch.randn_like(value) if value.numel() > 1 else torch.tensor(0.1))
    return one, other


def random_batch(seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    template, search = (
        torch.from_numpy(rng.integers(0, 255, (2, side, side, 3), dtype=np.uint8)) for side in (64, 128)
    )
    return Batch(template, search, torch.zeros(2, 4), ())


def test_weights_are_the_mean_and_statistics_are_its_own() -> None:
    one, other = two_networks()
    wanted = {
        name: (value + dict(other.named_parameters())[name]) / 2
        for name, value in copy.deepcopy(one).named_parameters()
    }
    batches = [random_batch(seed) for seed in range(3)]
    mean = average([one, other], batches)
    for name, value in mean.named_parameters():
        torch.testing.assert_close(value, wanted[name], msg=name)

    first = next(m for m in mean.modules() if isinstance(m, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    handle = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for batch in batches:
            mean(prepare(batch.template), prepare(batch.search))
    handle.remove()
    assert len(seen) >= len(batches)
    torch.testing.assert_close(first.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    torch.testing.assert_close(first.running_var, torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0))
    assert not mean.training


@pytest.mark.slow
def test_the_script_writes_the_average(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_data(data)
    for name, network in zip(("one", "other"), two_networks(), strict=True):
        save_checkpoint(network, tmp_path / f"{name}.safetensors")
    (tmp_path / "config.json").write_text(TrainConfig(batch=2).to_json(), encoding="utf-8")
    checkpoints = [str(tmp_path / f"{name}.safetensors") for name in ("one", "other", "mean")]
    command = [sys.executable, str(ROOT / "benchmarks" / "average.py"), str(data), *checkpoints[:2]]
    command += ["--config", str(tmp_path / "config.json"), "-o", checkpoints[2], "--batches", "2"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    one, other, mean = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "other", "mean"))
    weights = [name for name in mean if "running" not in name and mean[name].dtype == np.float32]
    for name in weights:
        np.testing.assert_allclose(mean[name], (one[name] + other[name]) / 2, rtol=1e-5, atol=1e-6, err_msg=name)
    statistics = [name for name in mean if name.endswith("running_mean")]
    assert any(np.abs(mean[name] - (one[name] + other[name]) / 2).max() > 1e-3 for name in statistics)
    assert not load_checkpoint(tmp_path / "mean.safetensors").training
