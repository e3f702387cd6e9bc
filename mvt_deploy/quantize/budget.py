"""An int8 export within a budget of accuracy: the worst layers stay in floating point until the gate passes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from ..bundle import ENGINES, Bundle, Gate, GraphInfo, open_bundle, write_manifest
from ..files import sha256
from .graphs import Int8
from .placement import candidates
from .qdq import quantise
from .sensitivity import Kept, LayerError, Probe, keep_within, rank
from .sources import Source, open_source

Verdict = Callable[[Path, str, str], Gate]
"""Judges the graphs in a folder by precision and target: a :class:`~mvt_deploy.evaluation.gate.judge.Judge`."""


def layers_to_keep(
    bundle: Bundle,
    how: Int8,
    judge: Verdict,
    state: Path | None = None,
    pairs: int = 24,
    say: Callable[[str], None] = lambda _line: None,
    tick: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Collection[str]]:
    """The fewest layers of each target to keep in floating point so that its int8 graph passes.

    Args:
        bundle: holds the int8 graphs with nothing kept; its files are not changed.
        how: how they were quantised.
        judge: the verdict, within the budget.
        state: folder that keeps the rankings: an interrupted search goes on from there.
        pairs: crops of the calibration set that layers are ranked on.
        say: told what is being done, a line at a time.
        tick: told of the progress of a ranking.

    Returns:
        By target, the names of the nodes to keep; none for a target that passes as it is.

    Raises:
        UserError: no choice of layers keeps a target within the budget.
        CalibrationError: there are no crops to rank the layers on.
    """
    kept: dict[str, Collection[str]] = {}
    for target in how.targets:
        if judge(bundle.folder, "int8", target).passed:
            kept[target] = ()
            continue
        source = open_source(bundle, target, how.calibration, how.method, say)
        crops = source.crops(pairs)
        say(f"ranking the layers of the {target} graph by the error each adds in int8")
        probe = Probe(source.template, source.model, crops, fuse_qdq=target != "tensorrt")
        file = state / f"{target}.json" if state else None
        key = f"{source.data} {pairs}"
        ranking = rank(probe, source.model, source.ranges, target, candidates, quantise, file, key, tick)
        found = fewest(bundle, target, source, ranking, judge)
        say(f"{len(found.names)} of {len(ranking)} layers of the {target} graph stay in floating point")
        kept[target] = found.names
    return kept


def fewest(bundle: Bundle, target: str, source: Source, ranking: Sequence[LayerError], judge: Verdict) -> Kept:
    """The fewest of the worst layers with which a target's graph passes, tried in a copy of the bundle.

    Raises:
        UserError: the graph is refused even where every layer is kept.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "mvt"
        shutil.copytree(bundle.folder, place, ignore=shutil.ignore_patterns(ENGINES))
        copied = open_bundle(place)

        def verdict(keep: Collection[str]) -> Gate:
            _exchange(copied, target, quantise(source.model, source.ranges, target, keep))
            return judge(place, "int8", target)

        return keep_within(ranking, verdict)


def _exchange(bundle: Bundle, target: str, model: onnx.ModelProto) -> None:
    """Write another int8 search graph in the place of a target's."""
    old = bundle.graph("search", "int8", (target,))
    onnx.save(model, bundle.folder / old.file)
    new = replace(old, sha256=sha256(bundle.folder / old.file))

    def current(graph: GraphInfo) -> GraphInfo:
        return new if graph.file == old.file else graph

    write_manifest(bundle.folder, replace(bundle.manifest, graphs=[current(g) for g in bundle.manifest.graphs]))
