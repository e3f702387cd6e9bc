"""The network as two graphs: a template graph that runs once per target and a search graph that runs once per frame.

Both take uint8 BGR crops as OpenCV cuts them; everything from colour order to the decoded box is inside.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..network import MVT, SEARCH_SIZE, TEMPLATE_SIZE, TemplateFeatures
from ..network.inference import Located, decode, hann_window, prepare


class TemplateGraph(nn.Module):
    """``crop`` uint8 ``[n, 128, 128, 3]`` to everything that does not depend on the search image."""

    role = "template"
    size = TEMPLATE_SIZE
    inputs = ("crop",)
    outputs = ("features", "tokens")

    def __init__(self, model: MVT) -> None:
        super().__init__()
        self.model = model

    def forward(self, crop: Tensor) -> TemplateFeatures:
        return self.model.encode_template(prepare(crop).to(_dtype(self)))


class SearchGraph(nn.Module):
    """``crop`` uint8 ``[n, 256, 256, 3]`` and the template's features to ``box``, ``score`` and ``score_map``.

    The head's sigmoids and the decoding are in fp32 whatever the precision of the rest.
    """

    role = "search"
    size = SEARCH_SIZE
    inputs = ("crop", "features", "tokens")
    outputs = ("box", "score", "score_map")
    window: Tensor

    def __init__(self, model: MVT) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("window", hann_window())

    def forward(self, crop: Tensor, features: Tensor, tokens: Tensor) -> Located:
        maps = self.model.track(prepare(crop).to(_dtype(self)), TemplateFeatures(features, tokens))
        return decode(maps, self.window)


class Graphs(NamedTuple):
    """The pair that together is the tracker's network."""

    template: TemplateGraph
    search: SearchGraph


def split(model: MVT, dtype: torch.dtype = torch.float32) -> Graphs:
    """The two graphs of a network, on a copy of it in evaluation mode, with parameters of the given type."""
    model = copy.deepcopy(model).eval().to(dtype)
    return Graphs(TemplateGraph(model).eval(), SearchGraph(model).eval())


def _dtype(graph: nn.Module) -> torch.dtype:
    return next(graph.parameters()).dtype
