"""What the builder made of a graph, read from the plan it prints: fused attention, int8 convolutions, layer norms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<type>\w+), Inputs: \[(?P<inputs>.*?)\], Constants:", re.M)
_IDLE = ("signal", "wait")  # synchronisation between streams, no kernels
_CONVOLUTIONS = ("correlation", "conv", "convolution", "CaskConvolution")
_NORM = re.compile(r"layer_?norm", re.I)


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts over an engine's kernels, of all its optimisation profiles together.

    Attributes:
        kernels: Number of kernels.
        fused_attention: Number of attentions that are a single kernel.
        convolutions: Number of convolutions.
        int8_convolutions: Number of convolutions with int8 input.
        layer_norms: Number of layer normalisations.
        half_norms: Number of layer normalisations whose mean is taken in half precision.
    """

    kernels: int
    fused_attention: int
    convolutions: int
    int8_convolutions: int
    layer_norms: int
    half_norms: int


def is_plan(message: str) -> bool:
    """True for the builder's message that holds the plan."""
    return "LayerType:" in message and "Inputs:" in message


def read_plan(text: str) -> Plan | None:
    """Read a plan printed with detailed profiling verbosity; None where its form is not known."""
    layers = [(m, text[m.start() : text.find("\n", m.end())]) for m in _LAYER.finditer(text)]
    kernels = [(m["name"], m["type"], m["inputs"], line) for m, line in layers if m["type"] not in _IDLE]
    if not kernels:
        return None
    convolutions = [k for k in kernels if k[1] in _CONVOLUTIONS or "Corr" in k[0]]
    norms = [k for k in kernels if "Mean" in k[0] and _NORM.search(k[3][k[3].find("Metadata:") :])]
    return Plan(
        kernels=len(kernels),
        fused_attention=_count("mha" in name for name, *_ in kernels),
        convolutions=len(convolutions),
        int8_convolutions=_count("Datatype: Int8" in inputs for _, _, inputs, _ in convolutions),
        layer_norms=len(norms),
        half_norms=_count(_half_mean(name, inputs) for name, _, inputs, _ in norms),
    )


def _half_mean(name: str, inputs: str) -> bool:
    """True where a fused kernel, whose name lists its steps, takes the mean before any cast to fp32."""
    return "Cast" not in name[: name.index("Mean")] and "Datatype: Half" in inputs


def _count(values: Iterable[bool]) -> int:
    return sum(map(bool, values))
