"""MVT in PyTorch, with the published key names (needs the ``export`` extra)."""

from .checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from .model import MVT, PARAMETERS, SEARCH_SIZE, STRIDE, TEMPLATE_SIZE, Maps, TemplateFeatures

__all__ = [
    "MVT",
    "PARAMETERS",
    "SEARCH_SIZE",
    "STRIDE",
    "TEMPLATE_SIZE",
    "Maps",
    "TemplateFeatures",
    "load_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
]
