"""What works on this machine: each check tries the real thing in a way that cannot crash, and names the remedy."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from . import bundle
from .default_bundle import default_bundle
from .errors import UserError
from .version import __version__


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one feature.

    Attributes:
        feature: Name of the feature.
        works: Whether it works here.
        detail: What was found, or why it does not work.
        remedy: What to do or to run where it does not work; empty where it does.
    """

    feature: str
    works: bool
    detail: str
    remedy: str = ""


def _extra(name: str) -> str:
    return f"pip install 'mvt-deploy[{name}]'"


def _packages(feature: str, modules: tuple[str, ...], extra: str) -> Finding:
    versions = []
    for module in modules:
        try:
            found = importlib.import_module(module)
        except Exception as error:  # a broken native library raises what it likes
            missing = isinstance(error, ModuleNotFoundError)
            return Finding(feature, False, f"{module}: {'not installed' if missing else error}", _extra(extra))
        versions.append(f"{module} {getattr(found, '__version__', '?')}")
    return Finding(feature, True, ", ".join(versions))


def _onnxruntime() -> Finding:
    import onnxruntime

    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers())
    return Finding("backend ort", True, f"onnxruntime {onnxruntime.__version__} ({providers})")


def _openvino() -> Finding:
    finding = _packages("backend openvino", ("openvino",), "openvino")
    if not finding.works:
        return finding
    import openvino

    core = openvino.Core()
    abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return Finding(finding.feature, True, f"{finding.detail} ({'with' if 'BF16' in abilities else 'no'} bf16)")


def _video_writing() -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 64))
        for _ in range(5):
            writer.write(np.zeros((64, 64, 3), np.uint8))
        writer.release()
        reader = cv2.VideoCapture(str(path))
        read = reader.read()[0]
        reader.release()
    remedy = "" if read else "pip install --force-reinstall opencv-python"
    return Finding("video files (mp4)", bool(read), f"opencv {cv2.__version__}", remedy)


def _window() -> Finding:
    lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
    gui = next((line.removeprefix("GUI:").strip() for line in lines if line.startswith("GUI:")), "")
    feature = "windows (--show, --select)"
    if gui == "NONE":
        return Finding(feature, False, "headless OpenCV", "pip install opencv-python")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return Finding(feature, False, "no display", "run it in a desktop session, or use --init-box and -o")
    return Finding(feature, True, gui or "OpenCV with windows")


def _gpu() -> Finding:
    from .backends.tensorrt.device import open_device

    try:
        device = open_device()
    except UserError as error:
        return Finding("NVIDIA GPU", False, str(error), "nvidia-smi lists GPUs; " + _extra("trt"))
    gpu = device.gpu
    device.close()
    return Finding("NVIDIA GPU", True, f"{gpu.name} ({gpu.compute_capability}), driver {gpu.driver}")


def _tensorrt() -> Finding:
    from .backends.tensorrt.flavour import installed_flavours

    try:
        found = installed_flavours()
    except UserError as error:
        return Finding("TensorRT", False, str(error), _extra("trt"))
    remedy = "" if found else f"{_extra('trt')}, or to build for RTX GPUs anywhere {_extra('trt-rtx')}"
    return Finding("TensorRT", bool(found), ", ".join(f.label for f in found) or "not installed", remedy)


def _default_bundle() -> Finding:
    feature, folder = "default bundle", default_bundle()
    if not bundle.exists(folder):
        return Finding(feature, False, f"not at {folder}", "mvt-deploy export")
    try:
        opened = bundle.open_bundle(folder)
        opened.verify()
    except UserError as error:
        return Finding(feature, False, str(error), "mvt-deploy export")
    precisions = ", ".join(sorted({g.precision for g in opened.manifest.graphs}))
    sides = ", ".join(map(str, opened.search_sizes))
    return Finding(feature, True, f"{folder}: {precisions}, search size {sides}, made {opened.manifest.created}")


CHECKS: tuple[Callable[[], Finding], ...] = (
    _onnxruntime,
    lambda: _packages("backend torch", ("torch", "safetensors"), "export"),
    _openvino,
    _gpu,
    _tensorrt,
    lambda: _packages("export", ("torch", "onnx", "onnxscript", "onnxsim", "safetensors"), "export"),
    _video_writing,
    _window,
    _default_bundle,
)


def examine() -> list[Finding]:
    """Run every check; the machine itself and the package come first."""
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    facts = [Finding("machine", True, machine), Finding("mvt-deploy", True, __version__)]
    return [*facts, *(check() for check in CHECKS)]
