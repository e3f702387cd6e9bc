"""What an int8 graph is made from, out of a finished bundle: the floating-point graph, its ranges, and the crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ..assets import asset
from ..bundle import Bundle
from ..crops import CropPairs
from ..errors import UserError
from .calibration_set import read_crops
from .graphs import SOURCES
from .placement import rule
from .qdq import tensors_needed
from .ranges import METHODS, Ranges, RangeStore, weights_digest


@dataclass(frozen=True, slots=True)
class Source:
    """The search graph in floating point, the files of the pair, activation ranges, and the calibration set.

    Attributes:
        search: the search graph's file.
        template: the template graph's file.
        model: the search graph.
        ranges: of the tensors that are quantised.
        data: digest of the data the ranges were measured on.
        folder: of the calibration set.
    """

    search: Path
    template: Path
    model: onnx.ModelProto
    ranges: Ranges
    data: str
    folder: Path

    def crops(self, count: int) -> CropPairs:
        """At most ``count`` pairs of the calibration set, spread evenly over it.

        Raises:
            CalibrationError: the folder holds no set, only a cache.
        """
        whole = read_crops(self.folder).pairs
        places = np.unique(np.linspace(0, len(whole.template) - 1, count).round().astype(int))
        return CropPairs(whole.template[places], whole.search[places])


def open_source(
    bundle: Bundle, target: str, calibration: Path | None, method: str, say: Callable[[str], None]
) -> Source:
    """What a bundle's int8 graph for a target is made from.

    Raises:
        UserError: there is no such target or method.
        BundleError: the bundle lacks the graphs (TensorRT's are fp16).
        CalibrationError: the calibration set cannot be used.
    """
    rule(target)
    if method not in METHODS:
        raise UserError(f"there is no method '{method}': choose one of {', '.join(METHODS)}.")
    precision, flavour = SOURCES[target]
    search = bundle.path(bundle.graph("search", precision, (flavour,)))
    template = bundle.path(bundle.graph("template", precision))
    folder = calibration or asset("calibration")
    model = onnx.load(search)
    names = tensors_needed(model, target)
    store = RangeStore(folder, say)
    ranges, _, data = store.ranges(search, template, names, weights_digest(bundle.checkpoint()), method)
    return Source(search, template, model, dict(ranges), data, folder)
