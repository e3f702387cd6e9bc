"""Activation ranges of a graph, measured on a calibration set, and the cache that keeps them."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization.calibrate import HistogramCollector
from safetensors.numpy import load_file

from ..backends.onnx_session import OnnxSession
from ..crops import CropPairs
from ..errors import CalibrationError
from ..files import write_whole
from ..progress import SILENT, Progress
from .calibration_set import CropSet, holds_crops, read_crops
from .qdq import Ranges

CACHE = "ranges.json"
METHODS = ("percentile", "minmax", "entropy")
"""Ways to choose a range; the first is the default. ``benchmarks/results/int8.json`` says what each costs: between
``percentile`` and ``minmax`` the order has changed from one checkpoint to another."""
PERCENTILE = 99.999
FORMAT = 1
_BINS = 2048
_SAMPLED = 1 << 16  # values per tensor and batch that enter the histogram; the extremes are those of all values
_LEVELS = 255  # levels of the trial quantisations of the entropy method


def weights_digest(checkpoint: Path) -> str:
    """Digest of a checkpoint's tensors by name; the file's own bytes also hold metadata, in no fixed order."""
    digest = hashlib.sha256()
    for name, values in sorted(load_file(checkpoint).items()):
        digest.update(repr((name, str(values.dtype), values.shape)).encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def graph_key(model: onnx.ModelProto, checkpoint: str) -> str:
    """Digest of what a graph computes: its nodes and names, and the checkpoint's digest instead of its own weights.

    Weights are folded by the exporting machine's arithmetic, so their last bits differ between processors that export
    the same graph.

    Args:
        model: The graph.
        checkpoint: :func:`weights_digest` of the checkpoint it was made from.
    """
    digest = hashlib.sha256(checkpoint.encode())
    for node in model.graph.node:
        attributes = sorted((a.name, a.type, list(a.ints), a.i, round(a.f, 6), a.s.hex()) for a in node.attribute)
        digest.update(repr((node.op_type, list(node.input), list(node.output), attributes)).encode())
    for tensor in model.graph.initializer:
        digest.update(repr((tensor.name, tensor.data_type, list(tensor.dims))).encode())
    return digest.hexdigest()


def measure_ranges(
    search: Path,
    template: Path,
    pairs: CropPairs,
    names: Sequence[str],
    method: str = METHODS[0],
) -> Ranges:
    """Run the graphs over pairs of crops and measure tensors.

    ``percentile`` and ``entropy`` are ONNX Runtime's calibrators: the range that holds 99.999 % of the values, and the
    range whose quantised histogram is nearest to the original in Kullback–Leibler divergence.

    Args:
        search: File of the search graph.
        template: File of the template graph, whose features the search graph reads.
        pairs: Crops to run the graphs on.
        names: Names of the tensors to measure.
        method: One of :data:`METHODS`.

    Raises:
        CalibrationError: A value is not finite.
    """
    model = onnx.load(search)
    inputs = {value.name for value in model.graph.input}
    measured = copy.deepcopy(model)
    have = {value.name for value in measured.graph.output} | inputs
    measured.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names if n not in have)
    encode = OnnxSession(template)
    session = OnnxSession(measured.SerializeToString())
    collector = HistogramCollector("percentile", False, _BINS, _LEVELS, PERCENTILE, "same")
    low: dict[str, float] = dict.fromkeys(names, math.inf)
    high: dict[str, float] = dict.fromkeys(names, -math.inf)
    inside = [name for name in names if name not in inputs]
    for batch in pairs.batches(4):
        feed = {"crop": batch.search, **encode.run({"crop": batch.template})}
        found = session.run(feed, tuple(inside))
        values = {n: np.asarray(found[n] if n in found else feed[n], np.float32) for n in names}
        for name, value in values.items():
            low[name], high[name] = min(low[name], float(value.min())), max(high[name], float(value.max()))
            if not math.isfinite(low[name]) or not math.isfinite(high[name]):
                raise CalibrationError(
                    f"{name} of {search.name} is not finite on the calibration set: check the checkpoint."
                )
        if method != "minmax":
            collector.collect_value({name: _sample(value) for name, value in values.items()})
    if method == "minmax":
        return {name: (low[name], high[name]) for name in names}
    with contextlib.redirect_stdout(io.StringIO()):  # the calibrator prints every step
        bounds = collector.compute_percentile() if method == "percentile" else collector.compute_entropy()
    return {name: (max(low[name], float(bounds[name][0])), min(high[name], float(bounds[name][1]))) for name in names}


def _sample(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Every n-th value; n is odd, so that every channel and column of a power-of-two layout is sampled."""
    flat = values.ravel()
    return flat[:: max(1, flat.size // _SAMPLED) | 1]


class RangeStore:
    """A calibration folder: ranges come from its cache if it knows the graph, otherwise they are measured on its crops.

    Args:
        folder: Folder with a calibration set, a cache of ranges, or both.
        progress: Receives what is measured.

    Raises:
        CalibrationError: The folder holds neither, or something damaged.
    """

    def __init__(self, folder: Path, progress: Progress = SILENT) -> None:
        self.folder, self._progress = folder, progress
        self._set: CropSet | None = read_crops(folder) if holds_crops(folder) else None
        self._entries = self._read()
        if self._set is None and not self._entries:
            raise CalibrationError(
                f"{folder} holds neither a calibration set nor a cache of ranges: record one with  "
                f"mvt-deploy calibrate CLIP -o {folder}."
            )

    def ranges(
        self, search: Path, template: Path, names: Sequence[str], checkpoint: str, method: str = METHODS[0]
    ) -> tuple[Ranges, int, str]:
        """The ranges of a graph's tensors.

        Args:
            search: File of the search graph.
            template: File of the template graph.
            names: Names of the tensors.
            checkpoint: :func:`weights_digest` of the checkpoint the graphs were made from.
            method: One of :data:`METHODS`.

        Returns:
            Ranges by tensor name, the number of pairs they were measured on, and the digest of those pairs.

        Raises:
            CalibrationError: There is no such method, or the cache does not know the graph and there are no crops to
                measure it on.
        """
        if method not in METHODS:
            raise CalibrationError(f"there is no int8 method '{method}': choose one of {', '.join(METHODS)}.")
        key = f"{graph_key(onnx.load(search), checkpoint)}-{method}"
        entry = self._entries.get(key)
        current = entry is not None and (self._set is None or entry["data"] == self._set.digest)
        if entry is not None and current and set(names) <= set(entry["ranges"]):
            return entry["ranges"], entry["pairs"], entry["data"]
        if self._set is None:
            raise CalibrationError(
                f"the cache in {self.folder} is of another graph, and there are no crops to measure this one on: "
                "record some with  mvt-deploy calibrate CLIP, and give their folder with --calibration."
            )
        count = len(self._set.samples)
        self._progress.message(f"measuring activation ranges of {search.name} on {count} pairs")
        table = measure_ranges(search, template, self._set.pairs, names, method)
        self._entries[key] = {"data": self._set.digest, "pairs": count, "graph": search.name, "ranges": table}
        self._write()
        return table, count, self._set.digest

    def _read(self) -> dict[str, dict[str, Any]]:
        path = self.folder / CACHE
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                return {}
            return {key: _checked(entry) for key, entry in content["graphs"].items()}
        except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise CalibrationError(f"{path} is damaged ({error}): remove it, and it is made again.") from error

    def _write(self) -> None:
        """Write the cache; where the folder cannot be written (an installed package), ranges are measured again."""
        rounded = {
            key: {**entry, "ranges": {n: [float(f"{v:.7g}") for v in bounds] for n, bounds in entry["ranges"].items()}}
            for key, entry in self._entries.items()
        }
        with contextlib.suppress(OSError):
            write_whole(self.folder / CACHE, json.dumps({"format": FORMAT, "graphs": rounded}, indent=1) + "\n")


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the cache, after its types and numbers were checked."""
    ranges = {str(name): (float(bounds[0]), float(bounds[1])) for name, bounds in entry["ranges"].items()}
    if not all(math.isfinite(v) for bounds in ranges.values() for v in bounds):
        raise ValueError("a range is not finite")
    return {"data": str(entry["data"]), "pairs": int(entry["pairs"]), "graph": str(entry["graph"]), "ranges": ranges}
