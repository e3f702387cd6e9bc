"""What machine this is: the facts that make a latency mean something."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "mvt-deploy", "numpy", "opencv-python", "opencv-contrib-python", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-ep-openvino", "openvino", "torch", "tensorrt", "tensorrt_rtx_cu13",
)  # fmt: skip
_SETS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "sve",
    "bf16",
    "i8mm",
)


def describe() -> dict[str, Any]:
    """Processor, cores, instruction sets, memory, GPUs, system and versions, as plain values for JSON."""
    cpu = _cpu()
    return {
        "cpu": cpu["model"],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_sets": [s for s in _SETS if s in cpu["flags"]],
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def one_line(machine: dict[str, Any]) -> str:
    """The machine in a line, for tables."""
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    return f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['instruction_sets'])}){gpus}"


def _cpu() -> dict[str, Any]:
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip().lower(), value.strip())
    except OSError:
        pass
    model = fields.get("model name") or _apple() or platform.processor() or platform.machine()
    return {"model": model, "flags": (fields.get("flags") or fields.get("features") or "").split()}


def _apple() -> str:
    """The processor's name on macOS, which has no /proc."""
    tool = shutil.which("sysctl") if platform.system() == "Darwin" else None
    if not tool:
        return ""
    return subprocess.run(
        [tool, "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
    ).stdout.strip()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> list[str]:
    """Names of NVIDIA GPUs and their driver, from nvidia-smi; empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return []
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()] if found.returncode == 0 else []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
