"""The part of TensorRT's Python API this project uses exists in 10.3, 10.13, 11.4 and TensorRT-RTX.

``tests/data/tensorrt_api.json`` was read from the real bindings by ``bindings.py``; where their wheels are at hand, in
the folder ``MVT_DEPLOY_TENSORRT_WHEELS``, it is read from them again.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bindings import CLASSES, surface

import mvt_deploy.backends.tensorrt

RECORDED = json.loads((Path(__file__).parents[2] / "data" / "tensorrt_api.json").read_text())
WHEELS = os.environ.get("MVT_DEPLOY_TENSORRT_WHEELS", "")
USED = {
    "": ["nptype"],
    "Builder": ["create_network", "create_builder_config", "create_optimization_profile", "build_serialized_network"],
    "INetworkDefinition": ["num_inputs", "get_input"],
    "ITensor": ["name", "shape"],
    "OnnxParser": ["parse_from_file", "num_errors", "get_error"],
    "ParserError": ["desc"],
    "IBuilderConfig": [
        "profiling_verbosity", "progress_monitor", "builder_optimization_level", "set_memory_pool_limit",
        "add_optimization_profile", "create_timing_cache", "set_timing_cache", "get_timing_cache",
    ],
    "IOptimizationProfile": ["set_shape"],
    "ITimingCache": ["serialize"],
    "IHostMemory": ["nbytes"],
    "IProgressMonitor": ["phase_start", "step_complete", "phase_finish"],
    "ILogger": ["log", "Severity"],
    "Logger": ["ERROR"],
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": [
        "get_tensor_name", "get_tensor_mode", "get_tensor_dtype", "get_tensor_shape", "get_tensor_profile_shape",
        "num_io_tensors", "num_optimization_profiles", "create_execution_context",
    ],
    "IExecutionContext": [
        "set_optimization_profile_async", "set_input_shape", "set_tensor_address", "execute_async_v3",
    ],
    "NetworkDefinitionCreationFlag": ["STRONGLY_TYPED"],
    "MemoryPoolType": ["WORKSPACE"],
    "ProfilingVerbosity": ["DETAILED"],
    "TensorIOMode": ["INPUT"],
}  # fmt: skip
PROBED = {  # used only where hasattr says so, or behind the flavour that has them
    "IExecutionContext": ["is_stream_capturable"],
    "ICudaEngine": ["create_runtime_config"],
    "IBuilderConfig": ["num_compute_capabilities", "set_compute_capability"],
    "ComputeCapability": [],
}


def _missing(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> list[str]:
    return [f"{name}.{m}" for name, members in wanted.items() for m in members if m not in found[name]]


@pytest.mark.parametrize("version", RECORDED)
def test_every_version_has_it(version: str) -> None:
    assert _missing(RECORDED[version], USED) == []


def test_rtx_has_it_and_what_is_its_own() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[trt-rtx]'")
    found = surface(trt)
    assert _missing(found, USED) == []
    assert _missing(found, {k: v for k, v in PROBED.items() if k in CLASSES}) == []
    config = trt.IRuntimeConfig
    assert {"create_runtime_cache", "set_runtime_cache", "dynamic_shapes_kernel_specialization_strategy"} <= {
        *dir(config)
    }
    assert hasattr(trt.DynamicShapesKernelSpecializationStrategy, "EAGER")


def test_the_stand_in_promises_no_more_than_the_real_thing() -> None:
    import ort_engine

    for stand_in, real in ((ort_engine.OrtEngine, "ICudaEngine"), (ort_engine.OrtContext, "IExecutionContext")):
        methods = {m for m in vars(stand_in) if m[0] != "_"}
        assert methods
        for found in RECORDED.values():
            assert methods <= set(found[real])


def test_a_hard_coded_flag_would_be_wrong() -> None:
    assert {v.split(".")[0]: RECORDED[v]["strongly_typed"] for v in RECORDED} == {"10": 1, "11": 0}


def test_the_list_above_is_complete() -> None:
    """Everything the sources take from the module itself, as ``trt.Class.member``, stands in one of the two lists."""
    known = {name for name in (*USED, *PROBED) if name} | set(USED[""])
    members = {m for listed in (*USED.values(), *PROBED.values()) for m in listed}
    for path in Path(mvt_deploy.backends.tensorrt.__path__[0]).glob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "trt." not in source:  # elsewhere an engine is the package's own
            continue
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Attribute):
                continue
            if ast.unparse(node.value) in ("trt", "self.trt", "self._trt", "flavour.trt"):
                assert node.attr in known | {"__version__"}, f"{path.name}: {node.attr}"
            elif ast.unparse(node.value) in (
                "config",
                "builder",
                "network",
                "parser",
                "engine",
                "self._engine",
                "self._context",
            ):
                extra = {"label", "info", "set_runtime_cache", "create_runtime_cache", "path"}
                extra |= {"dynamic_shapes_kernel_specialization_strategy"}
                assert node.attr in members | extra, f"{path.name}: {node.attr}"


@pytest.mark.slow
@pytest.mark.parametrize("version", RECORDED)
def test_the_record_is_what_the_wheel_has(version: str) -> None:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheels = (
        sorted(Path(WHEELS).glob(f"tensorrt_cu1*_bindings-{version}-{tag}-*{platform.machine()}.whl")) if WHEELS else []
    )
    if not wheels:
        pytest.skip(
            "the wheel is not here: pip download --no-deps -d FOLDER tensorrt-cu12-bindings==VERSION, "
            "then set MVT_DEPLOY_TENSORRT_WHEELS=FOLDER"
        )
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make empty libraries with")
    script = Path(__file__).parent / "bindings.py"
    made = subprocess.run([sys.executable, script, wheels[0]], capture_output=True, text=True, check=True)
    found = json.loads(made.stdout)
    assert found.pop("version") == version
    assert found == RECORDED[version]
