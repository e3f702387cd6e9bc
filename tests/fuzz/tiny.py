"""A bundle of a few kilobytes whose graphs have MVT's inputs and outputs and next to no arithmetic."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mvt_deploy.bundle import FORMAT, CheckpointInfo, GraphInfo, Manifest, Parity, TrackerSpec, write_manifest
from mvt_deploy.export.to_onnx import tensors
from mvt_deploy.files import sha256


def template() -> onnx.ModelProto:
    """The mean colour of a crop."""
    nodes = [
        helper.make_node("Cast", ["crop"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "plane"], ["features"], keepdims=0),
    ]
    crop = helper.make_tensor_value_info("crop", TensorProto.UINT8, ["n", 128, 128, 3])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    return _model("template", nodes, [crop], [features], {"plane": np.array([1, 2])})


def search(numbers: int = 4, side: int = 256) -> onnx.ModelProto:
    """A box and a score from two mean colours.

    Args:
        numbers: Numbers of a box; other than 4, the declaration denies it.
        side: Side of the search crop in pixels.
    """
    nodes = [
        helper.make_node("Cast", ["crop"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "plane"], ["colour"], keepdims=0),
        helper.make_node("Add", ["colour", "features"], ["both"]),
        helper.make_node("MatMul", ["both", "weight"], ["box"]),
        helper.make_node("ReduceMean", ["both", "last"], ["score"], keepdims=0),
        helper.make_node("Slice", ["pixels", "from", "to", "plane"], ["corner"]),
        helper.make_node("ReduceMean", ["corner", "channel"], ["score_map"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("crop", TensorProto.UINT8, ["n", side, side, 3]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3]),
    ]
    outputs = [
        helper.make_tensor_value_info("box", TensorProto.FLOAT, ["n", 4]),
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("score_map", TensorProto.FLOAT, ["n", side // 16, side // 16]),
    ]
    constants = {
        "weight": np.full((3, numbers), 1e-3, np.float32),
        "plane": np.array([1, 2]),
        "last": np.array([1]),
        "channel": np.array([3]),
        "from": np.array([0, 0]),
        "to": np.array([side // 16, side // 16]),
    }
    return _model("search", nodes, inputs, outputs, constants)


def _model(
    name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def tiny_bundle(
    folder: Path,
    change: Callable[[dict[str, onnx.ModelProto]], object] = lambda _: None,
    sides: Sequence[int] = (256,),
) -> Path:
    """Write the bundle; ``change`` may edit the graphs first, and every hash and declaration then fits the edited ones.

    Args:
        folder: A new folder.
        change: Takes the models by name of the file without its ending.
        sides: Sides of the search crops in pixels; graphs of others than 256 carry theirs in their name.
    """
    models = {"template": template()}
    models |= {"search" if side == 256 else f"search.s{side}": search(side=side) for side in sides}
    change(models)
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").write_bytes(b"none")
    graphs = []
    for name, model in models.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        graphs.append(
            GraphInfo(
                path.name, sha256(path), name.split(".")[0], "fp32", "portable", 18,
                tensors(model.graph.input), tensors(model.graph.output), [], Parity("none", 1, 0, 0, 0),
            )
        )  # fmt: skip
    info = CheckpointInfo("checkpoint.safetensors", sha256(folder / "checkpoint.safetensors"), 1, "none")
    write_manifest(folder, Manifest(FORMAT, "tiny", "2026", info, TrackerSpec(), graphs, {"mvt-deploy": "0"}))
    return folder


def restate(folder: Path, role: str, data: bytes) -> None:
    """Replace a graph's bytes and its hash in the manifest, and nothing else."""
    (folder / f"{role}.onnx").write_bytes(data)
    content = json.loads((folder / "manifest.json").read_text())
    for graph in content["graphs"]:
        if graph["role"] == role:
            graph["sha256"] = sha256(folder / f"{role}.onnx")
    (folder / "manifest.json").write_text(json.dumps(content))


def sidecar() -> dict[str, Any]:
    """A well-formed engine sidecar, as parsed JSON."""
    from mvt_deploy.backends.tensorrt.plan import Plan
    from mvt_deploy.backends.tensorrt.store import EngineInfo, OptimizationProfile

    plan = Plan(9, 1, 2, 0, 3, 0)
    info = EngineInfo(
        1, "search.fp16.engine", "0" * 64, "2026", "search", "fp16", "search.onnx", "0" * 64, "tensorrt", "10.3", "GPU",
        ["8.9"], "550", "12.6", [OptimizationProfile(1, 1, 1)], 3, 1.5, 0, plan,
    )  # fmt: skip
    return dataclasses.asdict(info)
