"""Distillation: the teacher sees the crops, the loss is zero where its features are predicted, and a run lowers it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from training_data import make_data

from mvt_deploy.errors import TrainingError
from mvt_deploy.network import MVT
from mvt_deploy.training import TrainConfig, discover, train
from mvt_deploy.training.config import Mix, Stage, Teacher
from mvt_deploy.training.distillation import Distillation, TeacherBackbone
from mvt_deploy.training.sampler import PairDataset, batches


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone in NanoTrack's form, exported for 255 x 255 pixels: two random convolutions of stride 4."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in ((4, 3, 4, 4), (6, 4, 4, 4))]
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["a"], strides=[4, 4], kernel_shape=[4, 4]),
        helper.make_node("Conv", ["a", "w1"], ["output"], strides=[4, 4], kernel_shape=[4, 4]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("input", [1, 3, 255, 255]), ("output", [1, 6, 15, 15]))
    ]
    constants = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "backbone", ends[:1], ends[1:], constants)
    path = tmp_path_factory.mktemp("teacher") / "backbone.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_the_teacher_takes_any_size_and_sees_bgr_values(teacher: Path) -> None:
    backbone = TeacherBackbone(str(teacher))
    crop = np.random.default_rng(1).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    found = backbone(crop)
    assert found.shape == (6, 8, 8)
    weights = [numpy_helper.to_array(w) for w in onnx.load(teacher).graph.initializer]
    x = torch.from_numpy(crop).float().permute(2, 0, 1)[None]
    for weight in weights:
        x = torch.nn.functional.conv2d(x, torch.from_numpy(weight.copy()), stride=4)
    np.testing.assert_allclose(found, x[0].numpy(), rtol=2e-3, atol=0.1)


def test_a_teacher_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be loaded"):
        TeacherBackbone(str(tmp_path / "none.onnx"))


def test_the_loss_is_zero_where_the_features_are_predicted() -> None:
    model = MVT().eval()
    distillation = Distillation(model, 128)
    with torch.no_grad():
        for adaptor in (distillation.search, distillation.template):
            adaptor.weight.copy_(torch.eye(128)[:, :, None, None])
            assert adaptor.bias is not None
            adaptor.bias.zero_()
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    model.neck.register_forward_pre_hook(lambda _neck, maps: kept.append(maps))
    model(torch.rand(3, 3, 128, 128), torch.rand(3, 3, 256, 256))
    search, template = kept[0]

    def standardised(maps: torch.Tensor) -> torch.Tensor:
        deviation, mean = torch.std_mean(maps, dim=(0, 2, 3), keepdim=True)
        return (maps - mean) / deviation.clamp(min=1e-3)

    model.neck(standardised(search), standardised(template))  # what the loss compares with the same features
    assert float(distillation.loss([template, search]).detach()) == pytest.approx(0, abs=1e-5)
    model.neck(-standardised(search), -standardised(template))
    assert float(distillation.loss([template, search]).detach()) == pytest.approx(2, abs=1e-3)


def test_examples_carry_the_features_of_their_crops(teacher: Path, tmp_path: Path) -> None:
    data = discover(make_data(tmp_path))
    config = TrainConfig(batch=2, workers=0, teacher=Teacher(str(teacher)))
    example = PairDataset(data, config)[0]
    assert [maps.shape for maps in example.features] == [(6, 8, 8), (6, 16, 16)]
    batch = next(batches(data, config, start=0))
    assert [tuple(maps.shape) for maps in batch.features] == [(2, 6, 8, 8), (2, 6, 16, 16)]
    np.testing.assert_array_equal(batch.features[1][0].numpy(), example.features[1])


@pytest.mark.slow
def test_a_run_learns_the_features_and_resumes(teacher: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    config = TrainConfig(
        epochs=1,
        pairs_per_epoch=320,
        batch=8,
        lr=2e-3,
        warmup_steps=2,
        mix=Mix(absent=0.1),
        teacher=Teacher(str(teacher), 2.0),
        stages=(Stage(1.0, 64),),
        save_minutes=99.0,
    )
    train(data, tmp_path / "run", config)
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert entries[-1]["distillation"] < 0.95 * entries[0]["distillation"]
    longer = dataclasses.replace(config, pairs_per_epoch=336)
    (tmp_path / "run" / "config.json").write_text(longer.to_json())
    train(data, tmp_path / "run", resume=True)
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert entries[-1]["step"] == 42
