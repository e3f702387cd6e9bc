"""The int8 graphs of a bundle: one search graph a target, beside the floating-point template graph it goes with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from ..assets import asset
from ..bundle import Calibration, GraphInfo
from ..crops import CropPairs
from ..errors import CalibrationError
from ..export.parity import Answer, measure
from ..export.session import runner
from ..files import sha256
from .placement import RULES
from .qdq import OPSET, quantise, tensors_needed
from .ranges import METHODS, RangeStore, weights_digest

SOURCES = {"ort": ("fp32", "ort"), "openvino": ("fp32", "portable"), "tensorrt": ("fp16", "portable")}
"""Precision and target of the graph each int8 graph is made from: what stays unquantised for TensorRT is fp16."""


@dataclass(frozen=True, slots=True)
class Int8:
    """How to quantise.

    Attributes:
        calibration: folder of a calibration set, or of a cache of ranges; None is the set that ships.
        method: how a range is chosen from what was measured (see :data:`.ranges.METHODS`).
        keep: by target, names of nodes that stay in floating point.
        targets: what to make graphs for.
    """

    calibration: Path | None = None
    method: str = METHODS[0]
    keep: Mapping[str, Collection[str]] = field(default_factory=dict)
    targets: Sequence[str] = tuple(RULES)

    def __post_init__(self) -> None:
        for what, name, names in (("method", self.method, METHODS), *(("target", t, RULES) for t in self.targets)):
            if name not in names:
                raise CalibrationError(f"there is no int8 {what} '{name}': choose one of {', '.join(names)}.")

    def store(self, say: Callable[[str], None]) -> RangeStore:
        """Where the ranges come from.

        Raises:
            CalibrationError: the folder holds neither a set nor a cache, or something damaged.
        """
        return RangeStore(self.calibration or asset("calibration"), say)


def int8_graphs(
    place: Path,
    graphs: Sequence[GraphInfo],
    how: Int8,
    store: RangeStore,
    checkpoint: Path,
    pairs: CropPairs,
    answers: list[Answer],
    say: Callable[[str], None],
) -> list[GraphInfo]:
    """Write, measure and describe the int8 graphs.

    Args:
        place: folder of the bundle being made.
        graphs: its floating-point graphs.
        how: method, exceptions and targets.
        store: where activation ranges come from.
        checkpoint: its file.
        pairs: crops to compare on.
        answers: what the PyTorch network says of them.
        say: told what is being done, a line at a time.

    Raises:
        CalibrationError: no ranges for a graph.
        ParityError: a graph differs from the network by more than int8's tolerance.
    """
    made = []
    weights = weights_digest(checkpoint)
    for target in how.targets:
        precision, flavour = SOURCES[target]
        search = _find(graphs, "search", precision, flavour)
        template = _find(graphs, "template", precision, "portable")
        model = onnx.load(place / search.file)
        ranges, count, digest = store.ranges(
            place / search.file, place / template.file, tensors_needed(model, target), weights, how.method
        )
        path = place / f"search.int8.{target}.onnx"
        say(f"quantising {path.name}")
        keep = how.keep.get(target, ())
        quantised = quantise(model, ranges, target, keep)
        onnx.checker.check_model(quantised, full_check=True)
        onnx.save(quantised, path)
        # ONNX Runtime's own rewriting of fp16 Q/DQ pairs gives wrong numbers: TensorRT's graph is measured without it.
        run = runner(path, fuse_qdq=target != "tensorrt")
        parity = measure(runner(place / template.file), run, pairs, answers, "int8")
        made.append(replace(template, precision="int8", target=target))
        made.append(
            replace(
                search,
                file=path.name,
                sha256=sha256(path),
                precision="int8",
                target=target,
                opset=OPSET,
                parity=parity,
                calibration=Calibration(how.method, count, digest, sorted(keep)),
            )
        )
    return made


def _find(graphs: Sequence[GraphInfo], role: str, precision: str, target: str) -> GraphInfo:
    return next(g for g in graphs if (g.role, g.precision, g.target) == (role, precision, target))
