"""The run: it learns, it stops anywhere and goes on exactly there, and says what is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from told import Told
from training_data import make_data

from mvt_deploy.errors import TrainingError
from mvt_deploy.network import MVT, load_checkpoint
from mvt_deploy.training import TrainConfig, budget_warning, from_json, small_budget, train
from mvt_deploy.training.config import Stage
from mvt_deploy.training.init import initialise
from mvt_deploy.training.loop import parameter_groups
from mvt_deploy.training.pieces import pack, unpack
from mvt_deploy.training.schedule import Clock, done_share, learning_rate, stage_at
from mvt_deploy.training.validate import auroc

TINY = TrainConfig(
    epochs=2,
    pairs_per_epoch=8,
    batch=2,
    lr=1e-3,
    warmup_steps=2,
    stages=(Stage(0.5, 64), Stage(1.0, 128)),
    workers=1,
    save_minutes=0.0,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("training"))


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_defaults_are_the_published_recipe() -> None:
    config = TrainConfig()
    assert (config.epochs, config.pairs_per_epoch, config.batch) == (100, 60_000, 128)
    assert (config.lr, config.backbone_factor, config.weight_decay) == (4e-4, 0.1, 1e-4)
    assert dataclasses.astuple(config.loss) == (1, 5, 2, False)
    assert dataclasses.astuple(config.windows) == (128, 256, 2.0, 4.0, 3.0, 0.25, 0.0, 200)


def test_a_configuration_survives_json() -> None:
    config = small_budget(3.0, hold_out=("a*",), seed=9)
    assert from_json(config.to_json()) == config
    with pytest.raises(TrainingError, match="cannot be read"):
        from_json('{"no_such_setting": 1}')
    for wrong in ('{"batch": "16"}', '{"mix": {"clip": 1}}', '{"lr": NaN}', '{"stages": [[1.0, 256]]}'):
        with pytest.raises(TrainingError, match="cannot be read"):
            from_json(wrong)


@pytest.mark.parametrize(
    "change",
    [{"batch": 3, "accumulate": 2}, {"minutes": -1.0}, {"stages": (Stage(0.5, 256),)}, {"stages": (Stage(1.0, 96),)}],
)
def test_impossible_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(TrainingError):
        TrainConfig(**change)  # type: ignore[arg-type]


def test_schedule() -> None:
    config = TrainConfig(final_lr=0.1, warmup_steps=10, minutes=2.0)
    assert done_share(config, 10**6, 30.0) == 0.25
    assert done_share(TrainConfig(epochs=1, pairs_per_epoch=256), 1, 1e9) == 0.5
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 50, 0.5) == pytest.approx(0.55)
    assert learning_rate(config, 50, 1.0) == pytest.approx(0.1)
    stages = small_budget(1.0).stages
    assert [stage_at(stages, done).search_size for done in (0.0, 0.49, 0.5, 1.0)] == [128, 128, 256, 256]


def test_a_pause_is_not_computing_time() -> None:
    clock = Clock()
    for _ in range(10):
        clock.add(1.0)
    clock.add(3600.0)
    assert clock.elapsed == pytest.approx(15.0)


def test_initialisation() -> None:
    model = initialise(MVT(), 0)
    layer: Any = model.backbone.layer_2[0]
    depthwise = layer.block.conv_3x3.block.conv.weight  # (128, 1, 3, 3): fan-in 9
    assert depthwise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.1)
    last: Any = model.box_head.get_submodule("conv5_ctr")
    assert last.bias.item() == pytest.approx(-2.2)
    assert last.weight.std().item() == pytest.approx(0.02, rel=0.5)
    again = initialise(MVT(), 0).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


def test_parameter_groups_hold_every_parameter_once() -> None:
    model = MVT()
    groups = parameter_groups(model, TrainConfig(), 0.1)
    assert sum(p.numel() for g in groups for p in g["params"]) == sum(p.numel() for p in model.parameters())
    assert [round(g["lr"], 8) for g in groups] == [4e-5, 4e-5, 4e-4, 4e-4]
    assert [g["weight_decay"] for g in groups] == [1e-4, 0.0, 1e-4, 0.0]


@pytest.mark.slow
def test_the_loss_falls_and_every_file_is_written(data: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY, pairs_per_epoch=400, batch=8, stages=(Stage(1.0, 64),), save_minutes=99.0, hold_out=("other",)
    )
    told = Told()
    weights = train(data, tmp_path / "run", config, progress=told)
    assert told.totals["training (%)"] == 100
    assert told.done["training (%)"] == pytest.approx(100)
    assert not told.open
    assert told.messages[-1].startswith("step 100  loss ")
    assert weights is not None
    assert weights.name == "best.safetensors"
    entries = log_of(tmp_path / "run")
    losses = [entry["total"] for entry in entries if "total" in entry]
    assert losses[-1] < 0.7 * losses[0]
    held: Any = next(entry["held_back"] for entry in entries if "held_back" in entry)
    assert set(held) == {"windows", "chained"}
    assert 0 <= held["chained"]["other"] <= 1
    assert load_checkpoint(weights).state_dict().keys() == MVT().state_dict().keys()
    assert from_json((tmp_path / "run" / "config.json").read_text()) == config


def same_weights(first: Path | None, second: Path | None) -> bool:
    assert first is not None
    assert second is not None
    a, b = load_checkpoint(first).state_dict(), load_checkpoint(second).state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_a_killed_run_resumes_exactly(data: Path, tmp_path: Path) -> None:
    whole = train(data, tmp_path / "whole", TINY)
    code = (
        "import sys; from pathlib import Path; from mvt_deploy.training import from_json, train\n"
        "if __name__ == '__main__': train(Path(sys.argv[1]), Path(sys.argv[2]), from_json(sys.argv[3]))"
    )
    run = tmp_path / "killed"
    script = tmp_path / "run.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(script), str(data), str(run), TINY.to_json()], start_new_session=True
    )
    deadline = time.monotonic() + 300
    try:
        while time.monotonic() < deadline:
            if (run / "state.pt").exists() and torch.load(run / "state.pt", weights_only=True)["step"] >= 2:
                break
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    step = torch.load(run / "state.pt", weights_only=True)["step"]
    assert 2 <= step < TINY.total_steps  # in the middle: an epoch has four steps
    resumed = train(data, run, resume=True)
    assert same_weights(whole, resumed)
    assert [entry["step"] for entry in log_of(run)] == [entry["step"] for entry in log_of(tmp_path / "whole")]


@pytest.mark.slow
def test_sessions_continue_exactly(data: Path, tmp_path: Path) -> None:
    """Short sessions, between which the folder travels in pieces, end with the weights of a run in one session."""
    config = dataclasses.replace(TINY, epochs=1, stages=(Stage(1.0, 64),), workers=0)
    whole = train(data, tmp_path / "whole", config)
    run, sessions = tmp_path / "run", 0
    weights = train(data, run, config, stop_after=0.001)
    while weights is None:
        sessions += 1
        pack(run, tmp_path / "pieces", megabytes=20)
        unpack(tmp_path / "pieces", run)
        told = Told()
        weights = train(data, run, resume=True, stop_after=0.001, progress=told)
    assert sessions >= 2
    assert told.done["training (%)"] == pytest.approx(100), "counted from where the run was resumed"
    assert whole is not None
    assert same_weights(whole, weights)


@pytest.mark.slow
def test_frozen_modules_stay_as_they_are(data: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY, epochs=1, pairs_per_epoch=4, frozen=("backbone.conv_1", "backbone.layer_1"), workers=0
    )
    torch.manual_seed(1)
    start = tmp_path / "start.safetensors"
    before = initialise(MVT(), 5)
    save_file(before.state_dict(), start)
    after = load_checkpoint(train(data, tmp_path / "run", config, start=start) or start).state_dict()
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
    frozen = tuple(f"{name}." for name in config.frozen)
    assert not [name for name in changed if name.startswith(frozen)]
    assert {"backbone.layer_2.0.block.exp_1x1.block.conv.weight", "neck.BN_x.running_mean"} <= changed
    with pytest.raises(TrainingError, match=r"'backbone\.layer_9'.*names like"):
        train(data, tmp_path / "wrong", dataclasses.replace(config, frozen=("backbone.layer_9",)))
    assert not (tmp_path / "wrong").exists()


@pytest.mark.slow
def test_accumulated_batches_and_a_start_from_weights(data: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, epochs=1, batch=4, accumulate=2, stages=(Stage(1.0, 64),), workers=0)
    first = train(data, tmp_path / "a", config)
    second = train(data, tmp_path / "b", config, start=first)
    assert not same_weights(first, second)
    assert log_of(tmp_path / "b")[-1]["pairs"] == 8


def test_a_budget_that_is_too_small_is_said() -> None:
    warning = budget_warning(small_budget(1.0), from_weights=False)
    assert warning is not None
    assert "1 minutes" in warning
    assert "75 minutes" in warning
    assert budget_warning(small_budget(1.0), from_weights=True) is None
    assert budget_warning(small_budget(75.0), from_weights=False) is None
    assert budget_warning(TrainConfig(), from_weights=False) is None


def test_published_configurations_can_be_read() -> None:
    rounds = Path(__file__).parents[2] / "benchmarks" / "results" / "training"
    files = [file for file in sorted(rounds.glob("round-*/*.json")) if file.name != "results.json"]
    assert len(files) >= 8
    assert all(from_json(file.read_text()).batch in (16, 32) for file in files)


def test_auroc_is_the_share_of_ordered_pairs() -> None:
    score, positive = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    assert auroc(score, positive) == pytest.approx((2 + 1.5) / 4)  # one of the four pairs is a tie
    assert math.isnan(auroc(score, np.ones(4, bool)))


def test_what_cannot_start(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run to resume"):
        train(data, tmp_path / "none", resume=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TrainingError, match="already holds a run"):
        train(data, tmp_path, TINY)
    with pytest.raises(TrainingError, match="unknown"):
        train(data, tmp_path / "x", TINY, device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no CUDA GPU"):
            train(data, tmp_path / "x", TINY, device="cuda")


@pytest.mark.slow
def test_the_command_keeps_to_its_minutes(data: Path, tmp_path: Path) -> None:
    code = "from mvt_deploy.cli.main import run; run()"
    command = [sys.executable, "-c", code, "train", "--data", str(data), "--minutes", "0.1", "-o", str(tmp_path / "r")]
    done = subprocess.run([*command, "--batch", "2", "--seed", "5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'r' / 'mvt.safetensors'}\n"
    assert from_json((tmp_path / "r" / "config.json").read_text()).seed == 5
    assert log_of(tmp_path / "r")[-1]["done"] == 1.0
    assert "warning: 0.1 minutes" in done.stderr
    assert "75 minutes" in done.stderr
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "--resume" in again.stderr
