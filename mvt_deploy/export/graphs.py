"""The network as two graphs: a template graph that runs once per target and a search graph that runs once per frame.

Both take uint8 BGR crops, as OpenCV cuts them. Everything from the colour order to the decoded box is inside. The
graphs are put together from modules, which :mod:`.rewrites` exchanges for faster ones that compute the same function.
"""

from __future__ import annotations

import copy
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..bundle import TrackerSpec
from ..network import MVT, SEARCH_SIZE, STRIDE, TEMPLATE_SIZE
from ..network.blocks import SiamMoViT
from ..network.inference import Prediction, decode, hann_window, prepare, size_scale


class Prepare(nn.Module):
    """Converts BGR crops uint8 ``[n, H, W, 3]`` to RGB images ``[n, 3, H, W]`` in 0..1.

    Args:
        dtype: Floating-point type of the graph.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, crop: Tensor) -> Tensor:
        return prepare(crop).to(self.dtype)


class JointBlock(nn.Module):
    """A Siam-MoViT block, divided into the part that depends on the template alone and the joint part.

    :meth:`template` computes the first part, once per target; :meth:`forward` computes the second one.

    Args:
        block: The network's block.
    """

    keeps: tuple[str, ...] = ("features", "tokens")
    """Names of the tensors that :meth:`template` returns and :meth:`forward` takes."""

    def __init__(self, block: SiamMoViT) -> None:
        super().__init__()
        self.block = block

    def template(self, z: Tensor) -> tuple[Tensor, ...]:
        """The template's part, from its feature map ``[n, C, h, w]``."""
        return z, self.block.tokens(z)

    def forward(self, x: Tensor, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feature maps of search and template, from the search's map ``[n, C, H, W]`` and the template's part."""
        return self.block(x, features, tokens)


class Locate(nn.Module):
    """Neck, head and decoding: from feature maps of search and template to a box.

    The maps are ``[n, 128, grid, grid]`` and ``[n, 128, 8, 8]``. The head's sigmoids and the decoding are computed in
    fp32, whatever the precision of the other layers.

    Args:
        model: The network, whose neck and head are used.
        grid: Side of the score map in cells.
    """

    window: Tensor

    def __init__(self, model: MVT, grid: int) -> None:
        super().__init__()
        self.grid, self.scale = grid, size_scale(grid)
        self.neck, self.feature_fusor, self.box_head = model.neck, model.feature_fusor, model.box_head
        self.register_buffer("window", hann_window(grid), persistent=False)

    def forward(self, x: Tensor, z: Tensor) -> Prediction:
        return decode(self.box_head(self.feature_fusor(*self.neck(x, z))), self.window, self.scale)


FEATURE = (
    "Template feature without a meaning of its own: the template graph's output goes into the search graph's input of "
    "the same name, once per target."
)


class Graph(nn.Module):
    """A module that becomes one ONNX file.

    Attributes:
        role: Role of the file in the bundle, ``template`` or ``search``.
        size: Side of its crop in pixels.
        summary: What the graph computes, in a sentence.
        descriptions: Meaning of its inputs and outputs by name, except the template features.
    """

    role: ClassVar[str]
    summary: ClassVar[str]
    size: int
    descriptions: dict[str, str]

    @property
    def template_features(self) -> tuple[str, ...]:
        """Names of the tensors that go from the template graph to the search graph."""
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        raise NotImplementedError

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        raise NotImplementedError


class TemplateGraph(Graph):
    """From ``crop`` uint8 ``[n, 128, 128, 3]`` to the template features, which do not depend on the search image."""

    role = "template"
    summary = "MVT tracker, template graph: encodes the target as it looks in its first frame. Runs once per target."
    size = TEMPLATE_SIZE

    def __init__(self, prepare: Prepare, stem: nn.Module, block: JointBlock) -> None:
        super().__init__()
        self.prepare, self.stem, self.block = prepare, stem, block
        self.descriptions = {
            "crop": "Template crops, uint8 BGR, [n, 128, 128, 3] for n targets: the square around the centre of the "
            "target's box with a side of 2 * sqrt(width * height), resized to 128 x 128 pixels. What lies outside the "
            "frame is black.",
        }

    @property
    def template_features(self) -> tuple[str, ...]:
        return self.block.keeps

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("crop",)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.template_features

    def forward(self, crop: Tensor) -> tuple[Tensor, ...]:
        return self.block.template(self.stem(self.prepare(crop)))


class SearchGraph(Graph):
    """From ``crop`` uint8 ``[n, size, size, 3]`` and the template features to ``box``, ``score`` and ``score_map``."""

    role = "search"
    summary = "MVT tracker, search graph: finds the target in its search region. Runs once per frame."

    def __init__(
        self,
        prepare: Prepare,
        stem: nn.Module,
        block_3: JointBlock,
        down: nn.Module,
        block_4: JointBlock,
        locate: Locate,
        size: int,
    ) -> None:
        super().__init__()
        self.size = size
        self.descriptions = _describe_search(size)
        self.prepare, self.stem, self.block_3 = prepare, stem, block_3
        self.down, self.block_4, self.locate = down, block_4, locate

    @property
    def template_features(self) -> tuple[str, ...]:
        return self.block_3.keeps

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("crop", *self.template_features)

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("box", "score", "score_map")

    def forward(self, crop: Tensor, *template: Tensor) -> Prediction:
        x, z = self.block_3(self.stem(self.prepare(crop)), *template)
        z = self.down(z)
        x, z = self.block_4(self.down(x), *self.block_4.template(z))
        return self.locate(x, z)


def _describe_search(size: int) -> dict[str, str]:
    """Meaning of the search graph's inputs and outputs at a side of the search crop."""
    spec, grid = TrackerSpec().at(size), size // STRIDE
    return {
        "crop": f"Search crops, uint8 BGR, [n, {size}, {size}, 3] for n targets: the square around the centre of the "
        f"target's box in the frame before with a side of {spec.search_factor:g} * sqrt(width * height), resized to "
        f"{size} x {size} pixels. What lies outside the frame is black.",
        "box": "Predicted boxes, float32 [n, 4]: centre x, centre y, width, height as fractions of the crop's side.",
        "score": "Confidence of each box, float32 [n] in 0..1: the score map's value at the chosen cell.",
        "score_map": f"Score of every cell of {STRIDE} x {STRIDE} pixels, float32 [n, {grid}, {grid}] in 0..1, not "
        "weighted by the window.",
    }


class Graphs(NamedTuple):
    """Template graph and search graph, which together are the network; they share their stem and first joint block."""

    template: TemplateGraph
    search: SearchGraph


def split(model: MVT, search_size: int = SEARCH_SIZE) -> Graphs:
    """The two graphs of a network, in fp32 and in evaluation mode, made from a copy of it.

    Args:
        model: The network.
        search_size: Side of the search crop in pixels, a multiple of 32. The template graph is the same for all.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False).float()
    backbone = model.backbone
    stem = nn.Sequential(backbone.conv_1, backbone.layer_1, backbone.layer_2, backbone.layer_3[0])
    blocks = [JointBlock(layer[1]) for layer in (backbone.layer_3, backbone.layer_4)]  # type: ignore[arg-type]
    prepare = Prepare(torch.float32)
    return Graphs(
        TemplateGraph(prepare, stem, blocks[0]).eval(),
        SearchGraph(
            prepare, stem, blocks[0], backbone.layer_4[0], blocks[1], Locate(model, search_size // STRIDE), search_size
        ).eval(),
    )


def cast(graphs: Graphs, dtype: torch.dtype) -> None:
    """Convert the graphs to another floating-point type; decoding stays in fp32.

    Convert after the rewrites, which are exact in fp32 only: weights folded together in half precision have ten times
    the error of weights that are rounded once.

    Args:
        graphs: The graphs, which are changed in place.
        dtype: ``torch.float32`` or ``torch.float16``.
    """
    window = graphs.search.locate.window
    for graph in graphs:
        graph.to(dtype)
        graph.prepare.dtype = dtype
    graphs.search.locate.window = window
