"""The whole way from a checkpoint to a bundle: export, quantise, judge, and only then put the bundle in its place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from .. import bundle as bundles
from ..bundle import Bundle, Gate, GraphInfo, open_bundle
from ..errors import ParityError
from ..export.build import export_sides, write_graphs
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
    search_sizes: Collection[int] = (),
    fp16: bool = False,
    int8: Int8Options | None = None,
    rewrites: Collection[str] = tuple(REWRITES),
    runtimes: Collection[str] = (),
    judge: Judge | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Export a checkpoint, add int8 graphs, and judge every graph below fp32 or of another side.

    The bundle is written whole or not at all. Every graph is compared with the PyTorch network on crops of photographs.
    Those below fp32, and those of another side than 256, are judged by their trajectories too, if a judge is given.

    Args:
        checkpoint: A ``.safetensors`` or ``.pth.tar`` file; None is the default checkpoint that ships with the package.
        folder: Folder of the bundle. An earlier bundle there is replaced; anything else is refused.
        search_sizes: Sides in pixels of search crops to add graphs for, beside the default side of 256.
        fp16: Add fp16 graphs.
        int8: Add int8 graphs, made as these options say. TensorRT's is made from the fp16 graphs, which are then added.
        rewrites: Names of the exact rewrites to apply (see :mod:`mvt_deploy.export.rewrites`); all of them by default.
        runtimes: Runtimes that the bundle is for (see :data:`mvt_deploy.bundle.RUNTIMES`): only the graphs that these
            read are kept, and the checkpoint is left out. None keeps everything.
        judge: Gives a verdict on every search graph below fp32 or of another side than 256; the verdicts go into the
            manifest.
        force: Write the bundle although a graph was refused.
        progress: Receives what is being done.

    Raises:
        CheckpointError: The checkpoint cannot be read or does not fit the network.
        CalibrationError: The calibration set or its cache of ranges cannot be used.
        ParityError: A graph differs from the network by more than its tolerance, or the judge refuses it.
        UserError: No choice of layers keeps an int8 graph within ``int8.max_ao_drop``.
        BundleError: The network cannot take a side, or the folder cannot be written, or holds something that is not a
            bundle.
    """
    store = int8.open_store(progress) if int8 else None  # before the long part: what is wrong with it is the user's
    sides = export_sides(search_sizes)
    with bundles.staging(folder) as place:
        bundle = write_graphs(
            checkpoint,
            place,
            name=folder.name,
            sides=sides,
            fp16=fp16 or int8 is not None,
            rewrites=rewrites,
            progress=progress,
        )
        if int8 and store:
            bundle = quantize_bundle(bundle, int8, store, progress)
        if judge:
            bundle = judge_graphs(bundle, judge, int8=int8, store=store, force=force, progress=progress)
        if runtimes:
            bundles.trim(bundle, runtimes)
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
    """Get the verdict on every search graph but fp32 ones of the default side, and enter it in the manifest.

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
        side = None if graph.side == bundle.manifest.tracker.search_size else graph.side
        if graph.role != "search" or (graph.precision, side) == ("fp32", None):
            continue
        progress.message(f"judging {graph.file} by its trajectories")
        gate = judge(bundle.folder, graph.precision, graph.target, side)
        if not gate.passed and graph.precision == "int8" and int8 and store and int8.max_ao_drop is not None:
            source = open_quantization_source(bundle, graph.target, int8.method, store, graph.side)
            state = int8.state / f"{Path(graph.file).stem}.json" if int8.state else None
            bundle, gate = find_fp_layers(bundle, source, judge, state, progress)
        if not (gate.passed or force):
            raise _refusal(graph, gate)
        gates.append(gate)
    manifest = replace(bundle.manifest, gates=gates)
    bundles.write_manifest(bundle.folder, manifest)
    return Bundle(bundle.folder, manifest)


def _refusal(graph: GraphInfo, gate: Gate) -> ParityError:
    left_out = graph.precision if graph.precision != "fp32" else f"--search-size {graph.side}"
    return ParityError(
        f"{graph.file} does not keep the accuracy of fp32 over {gate.clips} clips: {gate.reason}; nothing was written. "
        f"Leave {left_out} out, or write it all the same with --force."
    )
