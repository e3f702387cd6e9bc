"""From a checkpoint to a checked bundle (needs the ``export`` extra)."""

from ..errors import MissingExtra

try:
    import onnx as _onnx  # noqa: F401
    import onnxscript as _onnxscript  # noqa: F401
    import onnxsim as _onnxsim  # noqa: F401
    import safetensors as _safetensors  # noqa: F401
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise MissingExtra("exporting a model", "export", error.name or "torch") from error

from .build import export_bundle

__all__ = ["export_bundle"]
