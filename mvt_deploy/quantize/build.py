"""The whole way from a checkpoint to a bundle: export, quantise, judge, and only then put the bundle in its place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from .. import bundle as bundles
from ..bundle import Bundle, Gate, GraphInfo, open_bundle
from ..errors import ParityError
from ..export.build import write_graphs
from ..export.rewrites import REWRITES
from ..progress import SILENT, Progress
from .fp_layers import Judge, find_fp_layers
from .graphs import quantize_bundle
from .ranges import RangeStore
from .source import Int8Options, open_quantization_source


def build_bundle(
    checkpoint: Path | None = None,
    folder: Path = bundles.DEFAULT,
    *,
    fp16: bool = False,
    int8: Int8Options | None = None,
    rewrites: Collection[str] = tuple(REWRITES),
    judge: Judge | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Export a checkpoint, add int8 graphs and judge every graph below fp32.

    The bundle is written whole or not at all.
    Graphs are compared with the PyTorch network on crops of photographs, and those below fp32 are judged by their
    trajectories too, if a judge is given.

    Args:
        checkpoint: A ``.safetensors`` or ``.pth.tar`` file; None is the default checkpoint that ships with the package.
        folder: Folder of the bundle. An earlier bundle there is replaced; anything else is refused.
        fp16: Add fp16 graphs.
        int8: Add int8 graphs, made as these options say. TensorRT's is made from the fp16 graphs, which are then added.
        rewrites: Names of the exact rewrites to apply (see :mod:`mvt_deploy.export.rewrites`); all of them by default.
        judge: Gives a verdict on every search graph below fp32; the verdicts go into the manifest.
        force: Write the bundle although a graph was refused.
        progress: Receives what is being done.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit the network.
        CalibrationError: The calibration set or its cache of ranges cannot be used.
        ParityError: A graph differs from the network by more than its tolerance, or the judge refuses it.
        UserError: No choice of layers keeps an int8 graph within ``int8.max_ao_drop``.
        BundleError: The folder cannot be written, or holds something that is not a bundle.
    """
    store = int8.open_store(progress) if int8 else None  # before the long part: what is wrong with it is the user's
    with bundles.staging(folder) as place:
        with_fp16 = fp16 or int8 is not None
        bundle = write_graphs(checkpoint, place, name=folder.name, fp16=with_fp16, rewrites=rewrites, progress=progress)
        if int8 and store:
            bundle = quantize_bundle(bundle, int8, store, progress)
        if judge:
            judge_graphs(bundle, judge, int8=int8, store=store, force=force, progress=progress)
    return open_bundle(folder)


def judge_graphs(
    bundle: Bundle,
    judge: Judge,
    *,
    int8: Int8Options | None = None,
    store: RangeStore | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Get the verdict on every search graph below fp32 and enter the verdicts in the manifest.

    An int8 graph that is refused is made again with layers in floating point where ``int8.max_ao_drop`` asks for it.

    Args:
        bundle: Bundle whose manifest, and int8 graphs where that is asked for, are written again.
        judge: Gives the verdicts.
        int8: How the int8 graphs were made.
        store: Calibration folder they were made with.
        force: Keep graphs that are refused.
        progress: Receives what is being done.

    Returns:
        The bundle with the verdicts.

    Raises:
        ParityError: A graph is refused and not forced.
        UserError: No choice of layers keeps an int8 graph within the budget.
    """
    gates: list[Gate] = []
    for graph in bundle.manifest.graphs:
        if graph.role != "search" or graph.precision == "fp32":
            continue
        progress.message(f"judging {graph.file} by its trajectories")
        gate = judge(bundle.folder, graph.precision, graph.target)
        if not gate.passed and graph.precision == "int8" and int8 and store and int8.max_ao_drop is not None:
            source = open_quantization_source(bundle, graph.target, int8.method, store)
            state = int8.state / f"{graph.target}.json" if int8.state else None
            bundle, gate = find_fp_layers(bundle, source, judge, state, progress)
        if not (gate.passed or force):
            raise _refusal(graph, gate)
        gates.append(gate)
    manifest = replace(bundle.manifest, gates=gates)
    bundles.write_manifest(bundle.folder, manifest)
    return Bundle(bundle.folder, manifest)


def _refusal(graph: GraphInfo, gate: Gate) -> ParityError:
    return ParityError(
        f"{graph.file} does not keep the accuracy of fp32 over {gate.clips} clips: {gate.reason}; nothing was written. "
        f"Leave {graph.precision} out, or write it all the same with --force."
    )
