"""The Python API of a TensorRT bindings wheel, read from the real module without TensorRT's libraries.

``python tests/engines/bindings.py WHEEL`` prints it as JSON. The wheel's extension module wants libraries that are not
in it; empty ones of the same names satisfy the linker, and nothing of them is ever called.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLASSES = (
    "Builder", "INetworkDefinition", "ITensor", "OnnxParser", "ParserError", "IBuilderConfig", "IOptimizationProfile",
    "ITimingCache", "IHostMemory", "IProgressMonitor", "ILogger", "Logger", "Runtime", "ICudaEngine",
    "IExecutionContext", "NetworkDefinitionCreationFlag", "MemoryPoolType", "ProfilingVerbosity", "TensorIOMode",
)  # fmt: skip


def surface(module: object) -> dict[str, list[str]]:
    """Public members of the classes this project may use, and the module's own functions."""
    found = {name: sorted(m for m in dir(getattr(module, name)) if m[0] != "_") for name in CLASSES}
    return {**found, "": sorted(name for name in dir(module) if name[0] != "_")}


def load(wheel: Path, folder: Path) -> object:
    """Import a wheel's module from ``folder`` behind empty libraries. Once per process."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    extension = folder / "tensorrt_bindings" / "tensorrt.so"
    undefined = _lines("nm", "-D", "--undefined-only", extension)
    symbols = {line.split()[-1] for line in undefined}
    source = "".join(f"void {s}(void){{}}\n" for s in symbols if "@" not in s and not s.startswith(("Py", "_")))
    for line in _lines("readelf", "-d", extension):
        if "NEEDED" in line and "libnv" in line:
            name = line.split("[")[1].rstrip("]")
            command = ["cc", "-w", "-shared", "-x", "c", "-", "-o", str(folder / name), f"-Wl,-soname,{name}"]
            subprocess.run(command, input=source, text=True, check=True)
            ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(folder))
    import tensorrt_bindings

    return tensorrt_bindings


def _lines(*command: object) -> list[str]:
    made = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True)
    return made.stdout.splitlines()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        module = load(Path(sys.argv[1]), Path(temporary))
        flag = module.NetworkDefinitionCreationFlag.STRONGLY_TYPED  # type: ignore[attr-defined]
        print(json.dumps({"version": module.__version__, "strongly_typed": int(flag), **surface(module)}))  # type: ignore[attr-defined]
