"""Accuracy within a budget: the layers that cost most in int8 stay in floating point until the gate passes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..bundle import Bundle, Gate
from ..errors import UserError
from ..progress import SILENT, Progress
from .graphs import write_candidate, write_int8
from .placement import rule
from .sensitivity import LayerError, Probe, rank
from .source import QuantizationSource

PAIRS = 24
"""Number of pairs of the calibration set that layers are ranked on."""

Judge = Callable[[Path, str, str, int | None], Gate]
"""Judges the graphs in a folder by precision, target and side of the search crop in pixels (None for the default): a
:class:`~mvt_deploy.evaluation.gate.judge.Judge`."""


@dataclass(frozen=True, slots=True)
class FpLayers:
    """Names of the layers that stay in floating point, and the verdict on the graph with the other layers in int8."""

    names: list[str]
    gate: Gate


def find_fp_layers(
    bundle: Bundle,
    source: QuantizationSource,
    judge: Judge,
    state: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[Bundle, Gate]:
    """Keep the fewest layers of an int8 graph in floating point with which it passes its gate.

    Args:
        bundle: Bundle that holds the graph; the graph's file and the manifest are written again.
        source: What the graph is made from.
        judge: Gives the verdict, within the budget.
        state: File that keeps the ranking of the layers, so that an interrupted search is resumed.
        progress: Receives what is being done.

    Returns:
        The bundle with the graph that passes, and the verdict on it.

    Raises:
        UserError: The graph does not pass even where every layer stays in floating point.
        CalibrationError: The calibration folder holds no crops to rank the layers on.
    """
    progress.message(f"ranking the layers of the {source.target} graph by the error each adds in int8")
    crops = source.crops(PAIRS)
    probe = Probe(source.template_file, source.model, crops, fuse_qdq=rule(source.target).fuse_qdq)
    key = f"{source.calibration.data} {PAIRS}"
    ranking = rank(probe, source.model, source.ranges, source.target, state=state, key=key, progress=progress)
    found = fewest_within_budget(bundle, source, ranking, judge)
    progress.message(f"{len(found.names)} of {len(ranking)} layers of the {source.target} graph stay in floating point")
    return write_int8(bundle, source, found.names), found.gate


def fewest_within_budget(
    bundle: Bundle, source: QuantizationSource, ranking: Sequence[LayerError], judge: Judge
) -> FpLayers:
    """Find the fewest of the worst layers with which a target's graph passes; the graph is written for each verdict.

    Args:
        bundle: Bundle that holds the graph.
        source: What the graph is made from.
        ranking: Layers, worst first.
        judge: Gives the verdict.

    Raises:
        UserError: The graph does not pass even where every layer stays in floating point.
    """

    side = None if source.search.side == bundle.manifest.tracker.search_size else source.search.side

    def verdict(keep: Collection[str]) -> Gate:
        return judge(write_candidate(bundle, source, keep).folder, "int8", source.target, side)

    return keep_within(ranking, verdict)


def keep_within(ranking: Sequence[LayerError], judge: Callable[[Collection[str]], Gate]) -> FpLayers:
    """Find the fewest of the worst layers to keep in floating point so that the gate passes.

    The number kept is doubled until the gate passes and then bisected. This takes few verdicts, and the one returned
    is that of exactly the layers returned.

    Args:
        ranking: Layers, worst first.
        judge: Gives the verdict on the graph that keeps the named layers in floating point.

    Raises:
        UserError: The gate refuses the graph even where every layer is kept.
    """
    names = [error.name for error in ranking]
    failed, count = -1, 0  # the largest number that failed, the next number to try
    while not (gate := judge(names[:count])).passed:
        if count == len(names):
            raise UserError(f"no choice of layers keeps int8 within the limit ({gate.reason}): allow a larger drop.")
        failed, count = count, min(max(1, 2 * count), len(names))
    passed = FpLayers(names[:count], gate)
    while len(passed.names) - failed > 1:
        middle = (failed + len(passed.names)) // 2
        if (gate := judge(names[:middle])).passed:
            passed = FpLayers(names[:middle], gate)
        else:
            failed = middle
    return passed
