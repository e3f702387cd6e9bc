"""The network as one graph, as published, to compare with: both images in, the head's maps out, nothing rewritten."""

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
    """Export the network as a single graph.

    Its inputs ``template`` and ``search`` are RGB images in 0..1, float32 ``[1, 3, 128, 128]`` and
    ``[1, 3, 256, 256]``; its outputs are the maps ``score``, ``size`` and ``offset``.

    Args:
        checkpoint: A ``.safetensors`` or ``.pth.tar`` file.
        path: File to write.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit the network.
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
