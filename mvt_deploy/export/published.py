"""The network as one graph, as published: both images in, the head's maps out, nothing rewritten. To compare with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import draft
from ..network import MVT, SEARCH_SIZE, TEMPLATE_SIZE, Maps, load_checkpoint
from .to_onnx import OPSET, quiet


class _Single(nn.Module):
    def __init__(self, model: MVT) -> None:
        super().__init__()
        self.model = model

    def forward(self, template: Tensor, search: Tensor) -> Maps:
        return self.model(template, search)


def export_published(checkpoint: Path, path: Path) -> None:
    """Write the single graph: ``template`` and ``search`` float32 RGB 0..1 NCHW, to ``score``, ``size``, ``offset``.

    Raises:
        CheckpointError: the checkpoint cannot be read or does not fit.
    """
    inputs = tuple(torch.zeros(1, 3, side, side) for side in (TEMPLATE_SIZE, SEARCH_SIZE))
    with draft(path) as temporary, quiet():
        program = torch.onnx.export(
            _Single(load_checkpoint(checkpoint)).eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=["template", "search"],
            output_names=["score", "size", "offset"],
        )
        assert program is not None
        program.save(temporary)
