"""Which extra brings a package that a verb could not import."""

from __future__ import annotations

from ..errors import MissingExtra

EXTRAS = {
    "onnx": "export",
    "onnxscript": "export",
    "onnxsim": "export",
    "safetensors": "export",
    "torch": "export",
    "openvino": "openvino",
    "onnxruntime_ep_openvino": "openvino",
    "tensorrt": "trt",
    "tensorrt_rtx": "trt-rtx",
    "cuda": "trt",
    "pycuda": "pycuda",
    "matplotlib": "eval",
    "PIL": "eval",
    "ray": "ray",
    "prometheus_client": "metrics",
    "got10k": "toolkits",
    "vot": "toolkits",
    "trax": "toolkits",
    "attributee": "toolkits",
    "supervision": "toolkits",
}
"""Import name of every optional package, and the extra that installs it."""


def missing_extra(error: ModuleNotFoundError, verb: str) -> MissingExtra | None:
    """The sentence for an optional package that is not installed; None for any other package.

    Modules name the extra themselves where they know what was asked for. This covers every import that a verb makes.

    Args:
        error: What the import raised.
        verb: The verb that the user typed, for the sentence.
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return MissingExtra(f"mvt-deploy {verb}".strip(), EXTRAS[package], package)
