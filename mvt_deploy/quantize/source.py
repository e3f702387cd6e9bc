"""What an int8 graph is made from: a floating-point search graph of a bundle, and the ranges of its activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from ..assets import asset
from ..bundle import Bundle, Calibration, GraphInfo
from ..crops import CropPairs
from ..errors import CalibrationError
from ..progress import SILENT, Progress
from .calibration_set import read_crops
from .placement import RULES, rule
from .qdq import Ranges, tensors_needed
from .ranges import METHODS, RangeStore, weights_digest


@dataclass(frozen=True, slots=True)
class Int8Options:
    """How to quantise a bundle.

    Attributes:
        calibration: Folder of a calibration set or of a cache of ranges; None is the set that ships with the package.
        method: How a range is chosen from the measured values, one of :data:`.ranges.METHODS`.
        targets: Runtimes to make int8 graphs for.
        max_ao_drop: Budget of accuracy. Where the gate refuses a graph with this limit, the layers that cost most stay
            in floating point until it passes. None keeps nothing in floating point.
        state: Folder that keeps finished steps of that search, so that an interrupted one is resumed; None keeps none.
    """

    calibration: Path | None = None
    method: str = METHODS[0]
    targets: Sequence[str] = tuple(RULES)
    max_ao_drop: float | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        for what, name, names in (("method", self.method, METHODS), *(("target", t, RULES) for t in self.targets)):
            if name not in names:
                raise CalibrationError(f"there is no int8 {what} '{name}': choose one of {', '.join(names)}.")

    def open_store(self, progress: Progress = SILENT) -> RangeStore:
        """Open the calibration folder.

        Raises:
            CalibrationError: The folder holds neither a calibration set nor a cache, or something damaged.
        """
        return RangeStore(self.calibration or asset("calibration"), progress)


@dataclass(frozen=True, slots=True)
class QuantizationSource:
    """The floating-point graphs behind one int8 search graph, and its activation ranges.

    Attributes:
        target: Runtime the int8 graph is made for.
        search: Description of the search graph in the bundle.
        template: Description of the template graph that goes with it.
        search_file: File of the search graph.
        template_file: File of the template graph.
        model: The search graph.
        ranges: Lowest and highest value of every tensor that is quantised.
        calibration: Where the ranges come from.
        folder: Folder of the calibration set.
    """

    target: str
    search: GraphInfo
    template: GraphInfo
    search_file: Path
    template_file: Path
    model: onnx.ModelProto
    ranges: Ranges
    calibration: Calibration
    folder: Path

    def crops(self, count: int) -> CropPairs:
        """At most ``count`` pairs of the calibration set, spread evenly over it, with search crops of the graph's side.

        A smaller search crop is the middle of the recorded one; for a larger one, the rim is black.

        Raises:
            CalibrationError: The folder holds only a cache of ranges.
        """
        whole = read_crops(self.folder).pairs
        places = np.unique(np.linspace(0, len(whole.template) - 1, count).round().astype(int))
        return CropPairs(whole.template[places], _resize_window(whole.search[places], self.search.side))


def _resize_window(crops: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Crops ``[n, s, s, 3]`` with another side around the same centre, at the same density."""
    rim = (side - crops.shape[1]) // 2
    if rim < 0:
        return crops[:, -rim:rim, -rim:rim]
    return np.pad(crops, ((0, 0), (rim, rim), (rim, rim), (0, 0)))


def open_quantization_source(
    bundle: Bundle,
    target: str,
    method: str = METHODS[0],
    store: RangeStore | None = None,
    search_size: int | None = None,
) -> QuantizationSource:
    """Read what a bundle's int8 search graph for a target is made from.

    The ranges are those of the graph of the default side, whatever the side: the graphs have the same layers and
    weights, and see pictures of the same density.

    Args:
        bundle: Bundle with the floating-point graphs (fp16 ones for TensorRT).
        target: ``"ort"``, ``"openvino"`` or ``"tensorrt"``.
        method: How a range is chosen, one of :data:`.ranges.METHODS`.
        store: Calibration folder; None is the one that ships with the package.
        search_size: Side of the search crops in pixels; None for the default.

    Raises:
        UserError: There is no such target.
        BundleError: The bundle lacks the graphs.
        CalibrationError: There is no such method, or the calibration folder has no ranges for the graph.
    """
    wanted = rule(target)
    store = store or Int8Options(method=method).open_store()
    template, search = bundle.graphs(target, wanted.precision, search_size)
    default = bundle.graphs(target, wanted.precision).search
    search_file, template_file = bundle.path(search), bundle.path(template)
    model, measured = onnx.load(search_file), bundle.path(default)
    names, measured_names = tensors_needed(model, target), tensors_needed(onnx.load(measured), target)
    weights = weights_digest(bundle.checkpoint())
    found, pairs, data = store.ranges(measured, template_file, measured_names, weights, method)
    # The exporter numbers tensors anew in every graph, but the graphs have the same layers in the same order.
    ranges = {name: found[other] for name, other in zip(names, measured_names, strict=True)}
    calibration = Calibration(method, pairs, data, [])
    return QuantizationSource(
        target, search, template, search_file, template_file, model, ranges, calibration, store.folder
    )
