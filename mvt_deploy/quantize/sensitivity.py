"""Which layers cost accuracy in int8: each is quantised alone, and box and score are compared with the original's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from ..backends.onnx_session import OnnxSession
from ..bundle import parse
from ..crops import CropPairs
from ..errors import UserError
from ..evaluation.metrics import Floats
from ..files import write_whole
from ..geometry import iou
from ..progress import SILENT, Progress
from .placement import candidates
from .qdq import Ranges, quantize


@dataclass(frozen=True, slots=True)
class LayerError:
    """Error that quantising one layer alone adds to the answers.

    Attributes:
        name: Name of the layer's node.
        operator: ONNX operator of the node.
        box_mean: Mean of 1 - IoU with the floating-point graph's box on the same crop, 0..1.
        box_p95: 95th percentile of 1 - IoU.
        score_mean: Mean absolute difference of the scores, 0..1.
        score_max: Largest absolute difference of the scores.
    """

    name: str
    operator: str
    box_mean: float
    box_p95: float
    score_mean: float
    score_max: float

    @property
    def added(self) -> float:
        """The figure that layers are ranked by: the sum of the mean errors of box and score."""
        return self.box_mean + self.score_mean


class Probe:
    """Runs variants of one search graph on the same crops and compares them with the graph itself.

    Args:
        template: File of the template graph.
        search: The search graph in floating point.
        pairs: Crops recorded along trajectories.
        fuse_qdq: Let ONNX Runtime turn Q/DQ pairs into its own int8 operators; otherwise they are computed as written.
        threads: Number of CPU threads; None leaves the choice to the runtime.
    """

    def __init__(
        self,
        template: Path,
        search: onnx.ModelProto,
        pairs: CropPairs,
        fuse_qdq: bool = True,
        threads: int | None = None,
    ) -> None:
        self._fuse_qdq, self._threads = fuse_qdq, threads
        encode = OnnxSession(template, threads=threads)
        self._inputs = [{"crop": b.search, **encode.run({"crop": b.template})} for b in pairs.batches()]
        self._operators = {node.name: node.op_type for node in search.graph.node}
        self._boxes, self._scores = self._answers(search)

    def error(self, name: str, model: onnx.ModelProto) -> LayerError:
        """The error of a variant in which the layer ``name`` is quantised; an answer that is not finite counts as 1."""
        boxes, scores = self._answers(model)
        finite = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        box = np.where(finite, 1 - iou(np.where(finite[:, None], boxes, 0), self._boxes), 1.0)
        score = np.where(finite, np.abs(scores - self._scores), 1.0)
        return LayerError(
            name,
            self._operators.get(name, ""),
            float(box.mean()),
            float(np.percentile(box, 95)),
            float(score.mean()),
            float(score.max()),
        )

    def _answers(self, model: onnx.ModelProto) -> tuple[Floats, Floats]:
        """Boxes ``[n, 4]`` (x, y, w, h as fractions of the crop) and scores ``[n]``."""
        session = OnnxSession(model.SerializeToString(), threads=self._threads, fuse_qdq=self._fuse_qdq)
        found = [session.run(inputs, ("box", "score")) for inputs in self._inputs]
        centred = np.concatenate([one["box"] for one in found]).astype(np.float64)
        boxes = np.concatenate([centred[:, :2] - centred[:, 2:] / 2, centred[:, 2:]], axis=1)
        return boxes, np.concatenate([one["score"] for one in found]).astype(np.float64)


def rank(
    probe: Probe,
    search: onnx.ModelProto,
    ranges: Ranges,
    target: str,
    *,
    layers: Sequence[str] | None = None,
    state: Path | None = None,
    key: str = "",
    progress: Progress = SILENT,
) -> list[LayerError]:
    """Quantise every layer alone and rank the layers by the error they add, worst first.

    Args:
        probe: Compares the variants.
        search: The search graph in floating point.
        ranges: Activation ranges of the graph.
        target: Runtime the graph is quantised for.
        layers: Names of the layers to rank; None ranks all that the target quantises.
        state: JSON file that keeps finished layers, so that an interrupted run is resumed.
        key: Name of the crops. With graph, ranges and target it identifies whose layers the file holds.
        progress: Receives a task with one step per layer.

    Raises:
        UserError: The target quantises nothing in this graph, or the file cannot be read.
    """
    all_layers = candidates(search, target)
    names = all_layers if layers is None else list(layers)
    if not names:
        raise UserError(f"the target {target} quantises no layer of this graph: there is nothing to rank.")
    content = (search.SerializeToString(deterministic=True), repr(sorted(ranges.items())).encode(), target, key)
    digest = hashlib.sha256(b"\0".join(c if isinstance(c, bytes) else c.encode() for c in content)).hexdigest()
    done = _read(state, digest) if state else {}
    with progress.task("layers", total=len(names), done=sum(name in done for name in names)) as task:
        for name in names:
            if name in done:
                continue
            alone = quantize(search, ranges, target, keep=[other for other in all_layers if other != name])
            done[name] = probe.error(name, alone)
            if state:
                rows = [asdict(error) for error in done.values()]
                write_whole(state, json.dumps({"of": digest, "layers": rows}, indent=1) + "\n")
            task.advance()
    return sorted((done[name] for name in names), key=lambda error: -error.added)


def _read(state: Path, digest: str) -> dict[str, LayerError]:
    """Layers finished earlier; none where the file is of another graph, other ranges, crops or another target."""
    if not state.exists():
        return {}
    try:
        content = json.loads(state.read_text(encoding="utf-8"))
        if content["of"] != digest:
            return {}
        errors: list[LayerError] = parse(list[LayerError], content["layers"], "layers")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{state} cannot be read ({error}): remove it, and the layers are measured again.") from error
    return {error.name: error for error in errors}
