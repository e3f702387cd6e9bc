"""The network as two graphs: a template graph that runs once per target and a search graph that runs once per frame.

Both take uint8 BGR crops as OpenCV cuts them; everything from colour order to the decoded box is inside. They are put
together from parts that :mod:`.rewrites` exchanges for faster ones with the same result.
"""

from __future__ import annotations

import copy
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..network import MVT, SEARCH_SIZE, TEMPLATE_SIZE
from ..network.blocks import SiamMoViT
from ..network.inference import Located, decode, hann_window, prepare


class Prepare(nn.Module):
    """uint8 BGR crops ``[n, H, W, 3]`` to RGB images in 0..1, ``[n, 3, H, W]``, in the precision of the graph."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, crop: Tensor) -> Tensor:
        return prepare(crop).to(self.dtype)


class JointBlock(nn.Module):
    """A Siam-MoViT block cut where the template stops being alone.

    ``template`` gives what the block knows of the template without the search image; ``forward`` does the rest.
    """

    keeps: tuple[str, ...] = ("features", "tokens")

    def __init__(self, block: SiamMoViT) -> None:
        super().__init__()
        self.block = block

    def template(self, z: Tensor) -> tuple[Tensor, ...]:
        """From the template's feature map ``[n, C, h, w]``: what :meth:`forward` wants, named by ``keeps``."""
        return z, self.block.tokens(z)

    def forward(self, x: Tensor, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.block(x, features, tokens)


class Locate(nn.Module):
    """Neck, head and decoding: feature maps of search and template ``[n, 128, 16, 16]``, ``[n, 128, 8, 8]`` to a box.

    The head's sigmoids and the decoding are in fp32 whatever the precision of the rest.
    """

    window: Tensor

    def __init__(self, model: MVT) -> None:
        super().__init__()
        self.neck, self.feature_fusor, self.box_head = model.neck, model.feature_fusor, model.box_head
        self.register_buffer("window", hann_window(), persistent=False)

    def forward(self, x: Tensor, z: Tensor) -> Located:
        return decode(self.box_head(self.feature_fusor(*self.neck(x, z))), self.window)


class Graph(nn.Module):
    """A module that becomes one ONNX file: its role in the bundle, its crop's side, the names of its tensors."""

    role: ClassVar[str]
    size: ClassVar[int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        raise NotImplementedError

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        raise NotImplementedError


class TemplateGraph(Graph):
    """``crop`` uint8 ``[n, 128, 128, 3]`` to everything that does not depend on the search image."""

    role = "template"
    size = TEMPLATE_SIZE

    def __init__(self, prepare: Prepare, stem: nn.Module, block: JointBlock) -> None:
        super().__init__()
        self.prepare, self.stem, self.block = prepare, stem, block

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("crop",)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.block.keeps

    def forward(self, crop: Tensor) -> tuple[Tensor, ...]:
        return self.block.template(self.stem(self.prepare(crop)))


class SearchGraph(Graph):
    """``crop`` uint8 ``[n, 256, 256, 3]`` and the template's features to ``box``, ``score`` and ``score_map``."""

    role = "search"
    size = SEARCH_SIZE

    def __init__(
        self,
        prepare: Prepare,
        stem: nn.Module,
        block_3: JointBlock,
        down: nn.Module,
        block_4: JointBlock,
        locate: Locate,
    ) -> None:
        super().__init__()
        self.prepare, self.stem, self.block_3 = prepare, stem, block_3
        self.down, self.block_4, self.locate = down, block_4, locate

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("crop", *self.block_3.keeps)

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("box", "score", "score_map")

    def forward(self, crop: Tensor, *template: Tensor) -> Located:
        x, z = self.block_3(self.stem(self.prepare(crop)), *template)
        z = self.down(z)
        x, z = self.block_4(self.down(x), *self.block_4.template(z))
        return self.locate(x, z)


class Graphs(NamedTuple):
    """The pair that together is the tracker's network; the two share their stem and first joint block."""

    template: TemplateGraph
    search: SearchGraph


def split(model: MVT) -> Graphs:
    """The two graphs of a network in fp32, on a copy of it in evaluation mode."""
    model = copy.deepcopy(model).eval().requires_grad_(False).float()
    backbone = model.backbone
    stem = nn.Sequential(backbone.conv_1, backbone.layer_1, backbone.layer_2, backbone.layer_3[0])
    blocks = [JointBlock(layer[1]) for layer in (backbone.layer_3, backbone.layer_4)]  # type: ignore[arg-type]
    prepare = Prepare(torch.float32)
    return Graphs(
        TemplateGraph(prepare, stem, blocks[0]).eval(),
        SearchGraph(prepare, stem, blocks[0], backbone.layer_4[0], blocks[1], Locate(model)).eval(),
    )


def cast(graphs: Graphs, dtype: torch.dtype) -> None:
    """Give the graphs another precision; decoding stays in fp32.

    It comes after the rewrites, which are exact in fp32 only: weights that are folded together in half precision are
    off by ten times what rounding them once costs.
    """
    window = graphs.search.locate.window
    for graph in graphs:
        graph.to(dtype)
        graph.prepare.dtype = dtype
    graphs.search.locate.window = window
