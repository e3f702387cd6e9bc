"""Which layers cost accuracy in int8: each quantised alone, and the box and the score compared with fp32's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from ..bundle import Gate, parse
from ..crops import CropPairs
from ..errors import UserError
from ..evaluation.metrics import Floats
from ..files import write_whole
from ..geometry import iou

Candidates = Callable[[onnx.ModelProto, str], list[str]]
"""Names of the nodes of a graph that a target would quantise."""
Quantise = Callable[[onnx.ModelProto, Any, str, Collection[str]], onnx.ModelProto]
"""The Q/DQ graph of a graph, activation ranges and a target; the nodes named last stay in floating point."""
Tick = Callable[[int, int], None]
"""Told how many layers are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """What quantising one layer alone does to the answers.

    Args:
        name: of its node.
        operator: the node's type.
        box_mean: mean of 1 - IoU with the floating-point graph's box on the same crop, 0..1.
        box_p95: its 95th percentile.
        score_mean: mean absolute difference of the scores, 0..1.
        score_max: the largest.
    """

    name: str
    operator: str
    box_mean: float
    box_p95: float
    score_mean: float
    score_max: float

    @property
    def added(self) -> float:
        """What layers are ranked by: the mean errors of box and score together."""
        return self.box_mean + self.score_mean


class Probe:
    """Runs variants of one search graph on the same crops and compares them with the graph itself.

    Args:
        template: file of the template graph.
        search: the search graph in floating point.
        pairs: crops recorded along trajectories.
        fuse_qdq: let ONNX Runtime turn Q/DQ pairs into its own int8 operators; otherwise they run as written.
        threads: CPU threads, None for the runtime's choice.
    """

    def __init__(
        self,
        template: Path,
        search: onnx.ModelProto,
        pairs: CropPairs,
        fuse_qdq: bool = True,
        threads: int | None = None,
    ) -> None:
        self._fuse, self._threads = fuse_qdq, threads
        encode = self._session(template.read_bytes())
        names = [o.name for o in encode.get_outputs()]
        wanted = {i.name for i in search.graph.input}
        self._inputs = []
        for batch in pairs.batches():
            features = dict(zip(names, encode.run(names, {"crop": batch.template}), strict=True))
            self._inputs.append({"crop": batch.search, **{k: v for k, v in features.items() if k in wanted}})
        self._operators = {node.name: node.op_type for node in search.graph.node}
        self._boxes, self._scores = self._answers(search)

    def error(self, name: str, model: onnx.ModelProto) -> LayerError:
        """The error of a variant in which the layer ``name`` is quantised; an answer that is not finite counts 1."""
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
        session = self._session(model.SerializeToString())
        found = [session.run(["box", "score"], inputs) for inputs in self._inputs]
        centred = np.concatenate([box for box, _ in found]).astype(np.float64)
        boxes = np.concatenate([centred[:, :2] - centred[:, 2:] / 2, centred[:, 2:]], axis=1)
        return boxes, np.concatenate([score for _, score in found]).astype(np.float64)

    def _session(self, model: bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        if not self._fuse:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def rank(
    probe: Probe,
    search: onnx.ModelProto,
    ranges: Any,
    target: str,
    candidates: Candidates,
    quantise: Quantise,
    state: Path | None = None,
    key: str = "",
    tick: Tick = lambda done, total: None,
) -> list[LayerError]:
    """Quantise every layer alone and rank them by the error they add, worst first.

    Args:
        probe: compares the variants.
        search: the search graph in floating point.
        ranges: activation ranges, as ``quantise`` wants them.
        target: whose int8 it is.
        candidates: names the layers.
        quantise: quantises all of them but some.
        state: a JSON file that keeps finished layers: an interrupted run goes on from there.
        key: names the crops; with the graph, the ranges and the target it says whose layers the file holds.
        tick: told of the progress.

    Raises:
        UserError: the target quantises nothing in this graph, or the file cannot be read.
    """
    names = candidates(search, target)
    if not names:
        raise UserError(f"the target {target} quantises no layer of this graph: there is nothing to rank.")
    content = (search.SerializeToString(deterministic=True), repr(sorted(ranges.items())).encode(), target, key)
    digest = hashlib.sha256(b"\0".join(c if isinstance(c, bytes) else c.encode() for c in content)).hexdigest()
    done = _read(state, digest) if state else {}
    tick(len(done), len(names))
    for name in names:
        if name in done:
            continue
        done[name] = probe.error(name, quantise(search, ranges, target, [n for n in names if n != name]))
        if state:
            rows = [asdict(error) for error in done.values()]
            write_whole(state, json.dumps({"of": digest, "layers": rows}, indent=1) + "\n")
        tick(len(done), len(names))
    return sorted((done[name] for name in names), key=lambda error: -error.added)


def _read(state: Path, digest: str) -> dict[str, LayerError]:
    """Layers finished before; none where the file is of another graph, other ranges, crops or another target."""
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


@dataclass(frozen=True, slots=True)
class Kept:
    """Layers that stay in floating point, and the verdict on the graph with the others quantised."""

    names: list[str]
    gate: Gate


def keep_within(ranking: Sequence[LayerError], judge: Callable[[Collection[str]], Gate]) -> Kept:
    """The fewest of the worst layers to keep in floating point so that the gate passes.

    The number kept is doubled until the gate passes, and then halved back: few verdicts, and the one returned is of
    exactly the layers returned.

    Args:
        ranking: layers, worst first.
        judge: the verdict on the graph that keeps some layers.

    Raises:
        UserError: the gate refuses the graph even where every layer is kept.
    """
    names = [error.name for error in ranking]
    low, count = -1, 0  # the most that failed, the next to try
    while not (gate := judge(names[:count])).passed:
        if count == len(names):
            raise UserError(f"no choice of layers keeps int8 within the limit ({gate.reason}): allow a larger drop.")
        low, count = count, min(max(1, 2 * count), len(names))
    passed = Kept(names[:count], gate)
    while len(passed.names) - low > 1:
        middle = (low + len(passed.names)) // 2
        if (gate := judge(names[:middle])).passed:
            passed = Kept(names[:middle], gate)
        else:
            low = middle
    return passed
