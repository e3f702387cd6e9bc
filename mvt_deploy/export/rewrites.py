"""Exact rewrites: modules of the graphs are replaced by faster ones that compute the same function.

Each rewrite changes the two graphs in place and can be left out. Tests hold every rewrite to 1e-5 of the network
without it. ``PORTABLE`` rewrites use standard ONNX operators only; ``ORT`` adds rewrites with ONNX Runtime's own
operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import UserError
from ..network.blocks import PATCH, Attention, ConvNormAct, SiamMoViT, Transformer, fold, unfold
from ..network.inference import Prediction, decode
from ..network.model import SCORE_CLAMP, TEMPLATE_SIZE, CenterHead, Maps
from .graphs import Graphs, JointBlock, Locate, Prepare

Rewrite = Callable[[Graphs], None]


# --- convolutions ---------------------------------------------------------------------------------------------------


def fold_batch_norms(graphs: Graphs) -> None:
    """Fold every batch norm into the convolution before it, as a scale of its weights and a bias."""
    for module in list(graphs.search.modules()) + list(graphs.template.modules()):
        if isinstance(module, ConvNormAct) and isinstance(getattr(module.block, "norm", None), nn.BatchNorm2d):
            module.block.conv = fuse_conv_bn_eval(module.block.conv, module.block.norm)
            module.block.norm = nn.Identity()
        elif isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d):
            module[0], module[1] = fuse_conv_bn_eval(module[0], module[1]), nn.Identity()


class _Cast(Prepare):
    """Converts BGR crops uint8 ``[n, H, W, 3]`` to BGR images ``[n, 3, H, W]`` in 0..255."""

    def forward(self, crop: Tensor) -> Tensor:
        return crop.to(self.dtype).permute(0, 3, 1, 2)


def fold_pixel_scale(graphs: Graphs) -> None:
    """Fold the factor 1/255 and the colour order into the first convolution, whose padding of zeros stays zero."""
    convolution: nn.Conv2d = graphs.search.stem[0].block.conv
    convolution.weight = nn.Parameter(convolution.weight.flip(1) / 255, requires_grad=False)
    graphs.search.prepare = graphs.template.prepare = _Cast(graphs.search.prepare.dtype)


# --- attention ------------------------------------------------------------------------------------------------------


def fold_layer_norms(graphs: Graphs) -> None:
    """Fold the scale and shift of every layer norm into the product behind it."""
    for block in _blocks(graphs):
        for layer in block.global_rep:
            if isinstance(layer, Transformer):
                _fold_affine(layer.pre_norm_mha, layer.pre_norm_mha[1].qkv_proj)
                _fold_affine(layer.pre_norm_ffn, layer.pre_norm_ffn[1])


def _fold_affine(sequence: nn.Sequential, product: nn.Linear) -> None:
    norm = sequence[0]
    if not isinstance(norm, nn.LayerNorm) or not norm.elementwise_affine:
        return
    product.bias = nn.Parameter(product.bias + product.weight @ norm.bias, requires_grad=False)
    product.weight = nn.Parameter(product.weight * norm.weight, requires_grad=False)
    sequence[0] = nn.LayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)


class SelfAttention(nn.Module):
    """Self-attention with its scale folded into Q, and its projections apart from its core.

    Tokens are ``[B, N, C]``.

    Args:
        attention: The network's attention, whose projections are used and changed.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.qkv_proj, self.out_proj = attention.qkv_proj, attention.out_proj
        width = self.out_proj.in_features
        scale = torch.ones(3 * width, dtype=self.qkv_proj.weight.dtype)
        scale[:width] = (width // self.heads) ** -0.5
        self.qkv_proj.weight = nn.Parameter(self.qkv_proj.weight * scale[:, None], requires_grad=False)
        self.qkv_proj.bias = nn.Parameter(self.qkv_proj.bias * scale, requires_grad=False)

    def project(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """The arguments of :meth:`core`: Q, K and V in one tensor ``[..., 3C]``."""
        return (self.qkv_proj(tokens),)

    def parts(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """Q, K and V in one tensor ``[..., 3C]``, in the form that :meth:`project` returns."""
        return (qkv,)

    def core(self, *parts: Tensor) -> Tensor:
        """The products and the softmax between the projections: ``[B, N, 3C] -> [B, N, C]``."""
        (qkv,) = parts
        length, width = qkv.shape[1], self.out_proj.in_features
        q, k, v = qkv.reshape(-1, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-1, -2)).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(-1, length, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out_proj(self.core(*self.project(tokens)))


def fold_attention_scale(graphs: Graphs) -> None:
    """Fold the factor ``1 / sqrt(c)`` into the weights of Q, where ``c`` is the number of channels of a head."""
    for block in _blocks(graphs):
        for layer in block.global_rep:
            if isinstance(layer, Transformer) and isinstance(layer.pre_norm_mha[1], Attention):
                layer.pre_norm_mha[1] = SelfAttention(layer.pre_norm_mha[1])


class FusedAttention(SelfAttention):
    """Self-attention whose core is one ``com.microsoft.MultiHeadAttention``, which only an exported graph can run."""

    def __init__(self, attention: SelfAttention) -> None:
        nn.Module.__init__(self)
        self.heads, self.qkv_proj, self.out_proj = attention.heads, attention.qkv_proj, attention.out_proj

    def core(self, *parts: Tensor) -> Tensor:
        return self._operator(*parts[0].chunk(3, dim=-1))

    def _operator(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (q, k, v),
            {"num_heads": self.heads, "scale": 1.0},
            dtype=q.dtype,
            shape=q.shape,
            version=1,
        )


def fuse_attention(graphs: Graphs) -> None:
    """Replace the products, softmax and transposes of every attention by ONNX Runtime's own operator.

    Needs ``fold_attention_scale``.
    """
    for block in _blocks(graphs):
        for layer in block.global_rep:
            if isinstance(layer, Transformer) and isinstance(layer.pre_norm_mha[1], SelfAttention):
                layer.pre_norm_mha[1] = FusedAttention(layer.pre_norm_mha[1])


class RowAttention(FusedAttention):
    """Fused attention on tokens that are the rows of one matrix ``[B*N, C]``.

    Q, K and V have a product each, so that none of them is copied.

    Args:
        attention: The attention to replace.
        length: Number of tokens ``N`` that attend to each other.
    """

    def __init__(self, attention: FusedAttention, length: int) -> None:
        super().__init__(attention)
        self.length = length  # N
        weights, biases = self.qkv_proj.weight.chunk(3), self.qkv_proj.bias.chunk(3)
        self.products = nn.ModuleList(_linear(w, b) for w, b in zip(weights, biases, strict=True))

    def project(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return tuple(product(tokens) for product in self.products)

    def parts(self, qkv: Tensor) -> tuple[Tensor, ...]:
        return qkv.chunk(3, dim=-1)

    def core(self, *parts: Tensor) -> Tensor:
        q, k, v = (part.unflatten(0, (-1, self.length)) for part in parts)
        return self._operator(q, k, v).flatten(0, 1)


# --- tokens ---------------------------------------------------------------------------------------------------------


class TokenBlock(JointBlock):
    """A joint block whose 1x1 convolutions are products on tokens, so that fewer channels are transposed."""

    def __init__(self, block: SiamMoViT) -> None:
        super().__init__(block)
        inner, outer = block.local_rep[1], block.conv_proj
        assert isinstance(inner, ConvNormAct)
        assert isinstance(outer, ConvNormAct)
        self.local = block.local_rep[0]
        self.widen, self.narrow = _as_linear(inner), _as_linear(outer)
        self.unfold, self.fold = unfold, fold
        self.last = 1  # dimension of tokens [B, P, N, C] up to which the transformer has them as one

    def _tokens(self, x: Tensor) -> Tensor:
        return self.widen(self.unfold(self.local(x)))

    def _maps(self, attended: Tensor, places: int, x: int, z: int) -> tuple[Tensor, Tensor]:
        """The transformer's output as feature maps of search and template with ``x`` and ``z`` rows."""
        lengths = [height**2 // PATCH**2 for height in (x, z)]
        tokens = F.relu(self.narrow(attended)).reshape(-1, places, sum(lengths), self.narrow.out_features)
        return self.fold(tokens[:, :, : lengths[0]], x), self.fold(tokens[:, :, lengths[0] :], z)

    def template(self, z: Tensor) -> tuple[Tensor, ...]:
        return z, self._tokens(z)

    def forward(self, x: Tensor, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([self._tokens(x), tokens], 2)
        attended = self.block.global_rep(both.flatten(0, self.last))
        maps = self._maps(attended, tokens.shape[1], x.shape[2], features.shape[2])
        return tuple(
            self.block.fusion(torch.cat([image, of_tokens], 1))
            for image, of_tokens in zip((x, features), maps, strict=True)
        )


def project_tokens(graphs: Graphs) -> None:
    """Apply the 1x1 convolutions beside unfold and fold to tokens. Needs ``fold_batch_norms``."""
    _exchange_blocks(graphs, lambda joint: TokenBlock(joint.block))


class CachedBlock(TokenBlock):
    """A token block that computes more of the template's part once per target.

    These are the template's share of the first attention's Q, K and V (``qkv``), and of the fusing convolution:
    ``features`` is the partial sum of that convolution.
    """

    keeps = ("features", "tokens", "qkv")

    def __init__(self, block: SiamMoViT) -> None:
        super().__init__(block)
        fusion: nn.Conv2d = block.fusion.block.conv
        channels = fusion.out_channels
        self.of_image = nn.Conv2d(channels, channels, 3, padding=1, dtype=fusion.weight.dtype)
        self.of_tokens = nn.Conv2d(channels, channels, 3, padding=1, bias=False, dtype=fusion.weight.dtype)
        assert fusion.bias is not None
        self.of_image.load_state_dict({"weight": fusion.weight[:, :channels], "bias": fusion.bias})
        self.of_tokens.load_state_dict({"weight": fusion.weight[:, channels:]})
        self.requires_grad_(False)

    def template(self, z: Tensor) -> tuple[Tensor, ...]:
        tokens = self._tokens(z)
        norm, attention = self._first()
        return self.of_image(z), tokens, attention.qkv_proj(norm(tokens))

    def forward(self, x: Tensor, features: Tensor, tokens: Tensor, qkv: Tensor) -> tuple[Tensor, Tensor]:
        tokens_x = self._tokens(x)
        norm, attention = self._first()

        def joined(of_x: Tensor, of_z: Tensor) -> Tensor:
            """All tokens, from the search image's rows and the template's ``[B, P, N, C]``."""
            return torch.cat([of_x.reshape(*places, of_z.shape[3]), of_z], 2).flatten(0, self.last)

        places = (-1, *tokens_x.shape[1:3])
        projected = attention.project(norm(tokens_x.flatten(0, self.last)))
        parts = [joined(a, b) for a, b in zip(projected, attention.parts(qkv), strict=True)]
        both = joined(tokens_x, tokens) + attention.out_proj(attention.core(*parts))
        both = both + self.block.global_rep[0].pre_norm_ffn(both)
        attended = self.block.global_rep[1:](both)
        map_x, map_z = self._maps(attended, tokens.shape[1], x.shape[2], features.shape[2])
        return self.block.fusion(torch.cat([x, map_x], 1)), F.relu(features + self.of_tokens(map_z))

    def _first(self) -> tuple[nn.Module, SelfAttention]:
        sequence = self.block.global_rep[0].pre_norm_mha
        return sequence[0], sequence[1]


def cache_template(graphs: Graphs) -> None:
    """Move more of the first joint block into the template graph. Needs the other rewrites of blocks."""
    graphs.search.block_3 = graphs.template.block = CachedBlock(graphs.search.block_3.block)


# --- layouts that suit ONNX Runtime ---------------------------------------------------------------------------------


def flatten_tokens(graphs: Graphs) -> None:
    """Keep tokens as the rows of one matrix, so that a product and its ReLU are one Gemm without a reshape between.

    This also keeps ONNX Runtime from using SkipLayerNormalization, which is slower than Add and LayerNormalization.
    """
    for joint, stride in ((graphs.search.block_3, 8), (graphs.search.block_4, 16)):
        joint.last = 2
        cells = sum((size // stride) ** 2 for size in (graphs.search.size, TEMPLATE_SIZE))
        for layer in joint.block.global_rep:
            if isinstance(layer, Transformer):
                layer.pre_norm_mha[1] = RowAttention(layer.pre_norm_mha[1], cells // PATCH**2)


def channels_last_tokens(graphs: Graphs) -> None:
    """Move the channels first and then whole cells between feature maps and tokens.

    The first move costs nothing beside a convolution in a blocked layout; the second copies runs of channels.
    """
    for joint in (graphs.search.block_3, graphs.search.block_4):
        joint.unfold, joint.fold = unfold_cells, fold_cells


def unfold_cells(x: Tensor) -> Tensor:
    """``[B, C, H, W]`` to tokens ``[B, P, N, C]``, by way of ``[B, H, W, C]``."""
    rows, columns = x.shape[2] // PATCH, x.shape[3] // PATCH
    cells = x.permute(0, 2, 3, 1).unflatten(2, (columns, PATCH)).unflatten(1, (rows, PATCH))
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(3, 4).flatten(1, 2)  # (B, ph, pw, rows, columns, C)


def fold_cells(tokens: Tensor, height: int) -> Tensor:
    """Tokens ``[B, P, N, C]`` back to ``[B, C, H, W]``; the inverse of :func:`unfold_cells`."""
    rows = height // PATCH
    patches = tokens.unflatten(2, (rows, -1)).unflatten(1, (PATCH, PATCH))  # (B, ph, pw, rows, columns, C)
    cells = patches.permute(0, 3, 1, 4, 2, 5).flatten(3, 4).flatten(1, 2)
    return cells.permute(0, 3, 1, 2)


# --- head -----------------------------------------------------------------------------------------------------------


class MergedLocate(Locate):
    """Neck and head with the 1x1 convolution between them folded into the three convolutions behind it.

    The 1x1 convolution has no activation. Its bias becomes the weight of a constant channel of ones, which, unlike a
    bias, is zero in the padding, as the 1x1 convolution's output is.

    Args:
        locate: The module to replace.
    """

    def __init__(self, locate: Locate) -> None:
        nn.Module.__init__(self)
        self.grid, self.scale = locate.grid, locate.scale
        self.neck, self.correlate, self.box_head = locate.neck, locate.feature_fusor.pw_corr, locate.box_head
        self.register_buffer("window", locate.window, persistent=False)
        adjust = locate.feature_fusor.adj_layer
        channels = adjust.in_channels + 1
        padded = channels + -channels % 4  # int8 kernels want multiples of four
        merged = []
        for branch in CenterHead.BRANCHES:
            first: nn.Conv2d = self.box_head.get_submodule(f"conv1_{branch}")[0]
            weight = torch.einsum("omyx,mi->oiyx", first.weight, adjust.weight[:, :, 0, 0])
            ones = torch.einsum("omyx,m->oyx", first.weight, adjust.bias)[:, None]
            weight = F.pad(torch.cat([weight, ones], 1), (0, 0, 0, 0, 0, padded - channels))
            assert first.bias is not None
            merged.append(_convolution(weight, first.bias))
        self.first = nn.ModuleList(merged)
        spare = torch.zeros(1, padded - channels + 1, self.grid, self.grid, dtype=adjust.weight.dtype)
        spare[:, 0] = 1
        self.register_buffer("spare", spare, persistent=False)

    def _correlation(self, x: Tensor, z: Tensor) -> Tensor:
        """``[n, 68, grid, grid]``: 64 gated correlations, a channel of ones, three of zeros."""
        correlation: Tensor = self.correlate(*self.neck(x, z))
        spare: Tensor = self.spare
        return torch.cat([correlation, spare.expand(correlation.shape[0], -1, -1, -1)], 1)

    def _branch(self, name: str, x: Tensor) -> Tensor:
        """A branch behind its first convolution, ``[n, 256, grid, grid]`` to its raw output."""
        for i in range(2, 6):
            x = self.box_head.get_submodule(f"conv{i}_{name}")(x)
        return x

    def forward(self, x: Tensor, z: Tensor) -> Prediction:
        correlation = self._correlation(x, z)
        weight = torch.cat([c.weight for c in self.first])
        bias = torch.cat([c.bias for c in self.first])
        parts = F.relu(F.conv2d(correlation, weight, bias, padding=1)).chunk(3, 1)
        score, size, offset = (self._branch(n, p) for n, p in zip(CenterHead.BRANCHES, parts, strict=True))
        return decode(Maps(_clamped_sigmoid(score), _clamped_sigmoid(size), offset.float()), self.window, self.scale)


def merge_neck_into_head(graphs: Graphs) -> None:
    """Fold the neck's 1x1 convolution into the head's first three convolutions. Needs ``fold_batch_norms``."""
    graphs.search.locate = MergedLocate(graphs.search.locate)


class PeakLocate(MergedLocate):
    """Neck and head that compute size and offset at the peak of the score map alone, from its 9x9 neighbourhood.

    Cells outside the grid are zero before every convolution, as the padding of the whole map is.

    Args:
        locate: The module to replace.
    """

    REACH = 4  # cells that four 3x3 convolutions see to each side

    def __init__(self, locate: MergedLocate) -> None:
        nn.Module.__init__(self)
        self.grid, self.scale = locate.grid, locate.scale
        self.neck, self.correlate, self.box_head = locate.neck, locate.correlate, locate.box_head
        self.first = locate.first
        self.register_buffer("window", locate.window, persistent=False)
        self.register_buffer("spare", locate.spare, persistent=False)
        head = locate.box_head
        both = [_stacked(list(locate.first)[1:], groups=1)]
        for i in range(2, 6):
            layers = [head.get_submodule(f"conv{i}_{name}") for name in ("size", "offset")]
            both.append(_stacked([layer[0] if i < 5 else layer for layer in layers], groups=2))
        self.regress = nn.ModuleList(both)
        wide = self.grid + 2 * self.REACH
        inside = F.pad(torch.ones(self.grid, self.grid), [self.REACH] * 4)
        self.register_buffer("inside", inside.flatten().to(locate.window.dtype), persistent=False)
        side = torch.arange(2 * self.REACH + 1)
        self.register_buffer("around", (side[:, None] * wide + side).flatten(), persistent=False)  # (81,)

    def forward(self, x: Tensor, z: Tensor) -> Prediction:
        correlation = self._correlation(x, z)
        score = _clamped_sigmoid(self._branch("ctr", F.relu(self.first[0](correlation)))).reshape(-1, self.grid**2)
        peak = (score * self.window.reshape(-1)).argmax(1, keepdim=True)  # (n, 1)
        row, column = peak // self.grid, peak % self.grid
        size, offset = self._at(correlation, row, column)
        centre = (torch.cat([column, row], 1) + offset) / self.grid
        return Prediction(
            torch.cat([centre, size], 1), score.gather(1, peak)[:, 0], score.reshape(-1, self.grid, self.grid)
        )

    def _at(self, correlation: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Size and offset, ``[n, 2]`` each, at one cell per map, given by its row and column ``[n, 1]``."""
        around: Tensor = self.around
        inside: Tensor = self.inside
        side = 2 * self.REACH + 1
        places = row * (self.grid + 2 * self.REACH) + column + around  # (n, 81)
        padded = F.pad(correlation, [self.REACH] * 4).flatten(2)  # (n, 68, (grid + 8)^2)
        patch = padded.gather(2, places[:, None].expand(-1, padded.shape[1], -1)).reshape(
            -1, padded.shape[1], side, side
        )
        mask = inside[places].reshape(-1, 1, side, side).to(patch.dtype)
        for i, convolution in enumerate(self.regress):
            patch = convolution(patch)
            if i < self.REACH:  # a 3x3 convolution took one cell from each side
                rim = i + 1
                patch = F.relu(patch)
                if i < self.REACH - 1:  # the last one stands on the peak, which is inside
                    patch = patch * mask[:, :, rim : side - rim, rim : side - rim]
        raw = patch.reshape(-1, 4)
        size = _clamped_sigmoid(raw[:, :2])
        return size if self.scale == 1 else size * self.scale, raw[:, 2:].float()


def regress_at_peak(graphs: Graphs) -> None:
    """Compute size and offset only where the score peaks. Needs ``merge_neck_into_head``."""
    locate = graphs.search.locate
    assert isinstance(locate, MergedLocate)
    graphs.search.locate = PeakLocate(locate)


# --- which, and in which order --------------------------------------------------------------------------------------

_ORDER: tuple[Rewrite, ...] = (
    fold_batch_norms,
    fold_pixel_scale,
    fold_layer_norms,
    fold_attention_scale,
    fuse_attention,
    project_tokens,
    cache_template,
    flatten_tokens,
    channels_last_tokens,
    merge_neck_into_head,
    regress_at_peak,
)
REWRITES: dict[str, Rewrite] = {rewrite.__name__: rewrite for rewrite in _ORDER}
"""Every rewrite by name, in the order they are applied."""
NEEDS = {
    "fuse_attention": ("fold_attention_scale",),
    "project_tokens": ("fold_batch_norms",),
    "cache_template": ("fold_batch_norms", "fold_attention_scale", "project_tokens"),
    "flatten_tokens": ("fold_batch_norms", "fold_attention_scale", "fuse_attention", "project_tokens"),
    "channels_last_tokens": ("fold_batch_norms", "project_tokens"),
    "merge_neck_into_head": ("fold_batch_norms",),
    "regress_at_peak": ("fold_batch_norms", "merge_neck_into_head"),
}
"""The rewrites that a rewrite needs."""
ORT = tuple(REWRITES)
_ORT_ONLY = ("fuse_attention", "flatten_tokens", "channels_last_tokens")
PORTABLE = tuple(name for name in REWRITES if name not in _ORT_ONLY)


def apply(graphs: Graphs, names: Iterable[str]) -> tuple[str, ...]:
    """Apply rewrites to the graphs, in the order of :data:`REWRITES`.

    Args:
        graphs: The graphs, which are changed in place.
        names: Names of the rewrites.

    Returns:
        The names of the rewrites in the order in which they were applied.

    Raises:
        UserError: A rewrite is unknown, or one that it needs is not among the names.
    """
    wanted = set(names)
    if unknown := wanted - REWRITES.keys():
        raise UserError(f"there is no rewrite {', '.join(sorted(unknown))}: choose from {', '.join(REWRITES)}.")
    for name in wanted:
        if absent := [n for n in NEEDS.get(name, ()) if n not in wanted]:
            raise UserError(f"the rewrite {name} needs {', '.join(absent)}: add it, or leave {name} out.")
    applied = tuple(name for name in REWRITES if name in wanted)
    with torch.no_grad():
        for name in applied:
            REWRITES[name](graphs)
    for graph in graphs:
        graph.eval().requires_grad_(False)
    return applied


def _blocks(graphs: Graphs) -> list[SiamMoViT]:
    return [graphs.search.block_3.block, graphs.search.block_4.block]


def _exchange_blocks(graphs: Graphs, make: Callable[[JointBlock], JointBlock]) -> None:
    graphs.search.block_3 = graphs.template.block = make(graphs.search.block_3)
    graphs.search.block_4 = make(graphs.search.block_4)


def _as_linear(block: ConvNormAct) -> nn.Linear:
    """A 1x1 convolution as a linear layer on the last axis."""
    convolution: nn.Conv2d = block.block.conv
    weight = convolution.weight[:, :, 0, 0]
    return _linear(weight, convolution.bias)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    linear.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return linear


def _convolution(weight: Tensor, bias: Tensor, padding: int = 1, groups: int = 1) -> nn.Conv2d:
    made = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        weight.shape[2:],
        padding=padding,
        groups=groups,
        dtype=weight.dtype,
    )
    made.load_state_dict({"weight": weight, "bias": bias})
    return made.requires_grad_(False)


def _stacked(layers: list[Any], groups: int) -> nn.Conv2d:
    """Parallel convolutions as one, without padding; with one group they share their input."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return _convolution(weight, bias, padding=0, groups=groups)


def _clamped_sigmoid(x: Tensor) -> Tensor:
    return x.float().sigmoid().clamp(SCORE_CLAMP, 1 - SCORE_CLAMP)
