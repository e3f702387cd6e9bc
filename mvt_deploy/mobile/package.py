"""Writes the package for apps: fixed-shape graphs, ORT format, the tensor contract, reference crops with answers."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from ..backends.onnx_session import OnnxSession
from ..bundle import Bundle, GraphInfo, GraphPair
from ..crops import photograph_pairs
from ..errors import BundleError, MissingExtra, ParityError, UserError
from ..files import draft_folder, sha256
from ..geometry import clip, crop, crop_window, map_back
from ..tracker import LostPolicy
from ..version import __version__
from ..video import demo
from . import usability
from .readme import readme

CONTRACT = "contract.json"
PRECISIONS = {"fp32": "portable", "int8": "ort"}
"""Precisions that go into a package, and the runtime whose graphs are taken. fp16 is left out: on a CPU it becomes fp32
again, and accelerators round fp32 graphs themselves."""
TOLERANCE = {"fp32": 1e-4, "int8": 0.02}
"""Largest difference of a box (fraction of the crop) or a score between the bundle's graphs and the package's."""
_PAIRS = 3

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph of the package; its shape is fixed."""

    name: str
    dtype: str
    shape: list[int]


@dataclass(frozen=True, slots=True)
class Model:
    """One graph in the two forms of the package.

    Attributes:
        role: ``"template"`` or ``"search"``.
        size: Side in pixels of the crop it takes.
        factor: Side of the window that the crop is cut from, over the square root of the box's area.
        ort: File in ORT format, optimised for ARM processors.
        ort_sha256: Hash of the file in ORT format.
        onnx: File in ONNX format with the same fixed shapes, for NNAPI and CoreML.
        onnx_sha256: Hash of the file in ONNX format.
        inputs: Tensors in the graph's order.
        outputs: Tensors in the graph's order.
    """

    role: str
    size: int
    factor: float
    ort: str
    ort_sha256: str
    onnx: str
    onnx_sha256: str
    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The two graphs that run together; files in ORT format.

    Attributes:
        precision: ``"fp32"`` or ``"int8"``.
        search_size: Side of the search crop in pixels.
        template: File of the template graph.
        search: File of the search graph.
        megabytes: Size of both.
        difference: Largest difference of a box (fraction of the crop) or a score from the bundle's graphs, on the
            reference crops.
    """

    precision: str
    search_size: int
    template: str
    search: str
    megabytes: float
    difference: float


def write_package(bundle: Bundle, folder: Path, say: Callable[[str], None] = lambda message: None) -> list[ModelPair]:
    """Write the package; an earlier one in its place is replaced.

    Args:
        bundle: The graphs. Every precision and search size that it holds goes into the package.
        folder: The package's place.
        say: Told what is being done.

    Returns:
        The pairs of graphs in the package.

    Raises:
        BundleError: The bundle lacks fp32 graphs, or a file is damaged.
        MissingExtra: The package ``onnx`` is not installed.
        ParityError: A graph of the package answers differently from the bundle's.
        UserError: The place cannot be written, or holds something else.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtra("package --mobile", "package", error.name or "onnx") from error
    if folder.exists() and not (folder / CONTRACT).is_file() and any(folder.iterdir() if folder.is_dir() else [1]):
        raise UserError(f"{folder} exists and is no package of mvt-deploy: give another place, or remove it.")
    pairs = _pairs(bundle)
    try:
        with draft_folder(folder.resolve()) as place:
            return _write(bundle, pairs, place, say)
    except OSError as error:
        raise UserError(f"cannot write a package at {folder} ({error.strerror}): give another place.") from error


def _pairs(bundle: Bundle) -> list[GraphPair]:
    """The pairs of every precision and search size; a graph that several share is in one form only."""
    pairs = [bundle.graphs("portable", "fp32")]
    for precision, runtime in PRECISIONS.items():
        for size in bundle.search_sizes:
            try:
                pair = bundle.graphs(runtime, precision, size)
            except BundleError:
                continue
            if pair not in pairs:
                pairs.append(pair)
    return pairs


def _write(bundle: Bundle, pairs: list[GraphPair], place: Path, say: Callable[[str], None]) -> list[ModelPair]:
    for name in ("models", "onnx"):
        (place / name).mkdir()
    graphs: dict[str, GraphInfo] = {}
    for graph in (graph for pair in pairs for graph in pair):
        graphs.setdefault(graph.file, graph)  # the int8 pair lists the fp32 template graph again
    say(f"writing {len(graphs)} graphs with fixed shapes, and in ORT format")
    for graph in graphs.values():
        _fix_shapes(bundle.path(graph), place / "onnx" / f"{_name(graph)}.onnx")
    _convert(place / "onnx", place / "models")
    models = {file: _model(bundle, graph, place) for file, graph in graphs.items()}
    say("comparing them with the bundle, and asking the usability checker")
    written = [_compared(bundle, pair, models, place) for pair in pairs]
    reports = {model.onnx: usability.report(place / model.onnx) for model in models.values()}
    policy = dataclasses.asdict(LostPolicy())
    contract = {
        "name": bundle.manifest.name,
        "version": __version__,
        "onnxruntime": onnxruntime.__version__,
        "colour": bundle.manifest.tracker.colour,
        "pairs": [dataclasses.asdict(pair) for pair in written],
        "models": [dataclasses.asdict(model) for model in models.values()],
        "lost_policy": policy,
        "reference": _reference(bundle, place, written, models),
    }
    (place / CONTRACT).write_text(json.dumps(contract, indent=1) + "\n", encoding="utf-8")
    (place / "README.md").write_text(readme(contract, reports), encoding="utf-8")
    return written


def _name(graph: GraphInfo) -> str:
    return f"{graph.role}-{graph.side}-{graph.precision}"


def _fix_shapes(source: Path, target: Path) -> None:
    """Give a graph the batch size 1: NNAPI and CoreML take no dynamic shapes."""
    import onnx
    from onnxruntime.tools import onnx_model_utils

    model = onnx.load(source)
    onnx_model_utils.make_dim_param_fixed(model.graph, "n", 1)
    onnx_model_utils.fix_output_shapes(model)
    onnx.save(model, target)


def _convert(source: Path, target: Path) -> None:
    """Write ORT-format files for ARM processors, and the list of operators for a reduced build of the runtime."""
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    logging.disable(logging.INFO)  # it logs and prints its progress
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            convert_onnx_models_to_ort(source, target, [OptimizationStyle.Fixed], target_platform="arm")
    finally:
        logging.disable(logging.NOTSET)


def _model(bundle: Bundle, graph: GraphInfo, place: Path) -> Model:
    spec = bundle.manifest.tracker
    ort, onnx = f"models/{_name(graph)}.ort", f"onnx/{_name(graph)}.onnx"
    session = OnnxSession(place / ort)
    tensors = [[Tensor(name, *session.types[name]) for name in side] for side in (session.inputs, session.outputs)]
    factor = spec.template_factor if graph.role == "template" else spec.at(graph.side).search_factor
    hashes = [sha256(place / file) for file in (ort, onnx)]
    return Model(graph.role, graph.side, factor, ort, hashes[0], onnx, hashes[1], tensors[0], tensors[1])


def _run(sessions: Sequence[OnnxSession], template_crop: npt.NDArray[Any], search_crop: npt.NDArray[Any]) -> Arrays:
    """Template and search for one target; crops uint8 ``[1, side, side, 3]``."""
    template, search = sessions
    features = template.run({"crop": template_crop})
    return search.run({"crop": search_crop, **features}, ("box", "score"))


def _compared(bundle: Bundle, pair: GraphPair, models: dict[str, Model], place: Path) -> ModelPair:
    """A pair of the package, after its answers were compared with the bundle's."""
    written = [models[graph.file] for graph in pair]
    packaged = [OnnxSession(place / model.ort) for model in written]
    original = [OnnxSession(bundle.path(graph)) for graph in pair]
    crops = photograph_pairs(_PAIRS, search_size=pair.search.side)
    largest = 0.0
    for i in range(_PAIRS):
        each = [_run(sides, crops.template[i : i + 1], crops.search[i : i + 1]) for sides in (packaged, original)]
        largest = max(largest, *(float(np.abs(each[0][name] - each[1][name]).max()) for name in ("box", "score")))
    if not largest <= TOLERANCE[pair.search.precision]:
        raise ParityError(
            f"the ORT format of {pair.search.file} answers differently from the bundle (by {largest:.2g}): "
            "nothing was written; try another version of onnxruntime."
        )
    size = sum((place / model.ort).stat().st_size for model in written) / 1e6
    return ModelPair(pair.search.precision, pair.search.side, written[0].ort, written[1].ort, round(size, 2), largest)


def _reference(bundle: Bundle, place: Path, pairs: list[ModelPair], models: dict[str, Model]) -> dict[str, Any]:
    """A frame, a box, the crops cut for it, and every pair's answers, mapped back: what a port must reproduce."""
    folder = place / "reference"
    folder.mkdir()
    (first, box), (second, _) = [item for index, item in enumerate(demo.frames(240)) if index in (0, 2)]
    height, width = second.shape[:2]
    cv2.imwrite(str(folder / "first.png"), first)
    cv2.imwrite(str(folder / "second.png"), second)
    files = {model.ort: model for model in models.values()}
    answers = []
    for pair in pairs:
        template, search = files[pair.template], files[pair.search]
        windows = [crop_window(box, template.factor), crop_window(box, search.factor)]
        template_crop = crop(first, windows[0], template.size)
        search_crop = crop(second, windows[1], search.size)
        template_crop.tofile(folder / f"template-{template.size}.bin")
        search_crop.tofile(folder / f"search-{search.size}.bin")
        sessions = [OnnxSession(place / file) for file in (pair.template, pair.search)]
        found = _run(sessions, template_crop[None], search_crop[None])
        mapped = map_back(found["box"][0], box, windows[1].side)
        answers.append(
            {
                "precision": pair.precision,
                "search_size": pair.search_size,
                "template_window": dataclasses.asdict(windows[0]),
                "search_window": dataclasses.asdict(windows[1]),
                "template_crop": f"reference/template-{template.size}.bin",
                "search_crop": f"reference/search-{search.size}.bin",
                "box": [round(float(v), 6) for v in found["box"][0]],
                "score": round(float(found["score"][0]), 6),
                "box_in_frame": [round(v, 3) for v in clip(mapped, width, height)],
            }
        )
    return {
        "first": "reference/first.png",
        "second": "reference/second.png",
        "init_box": [round(v, 6) for v in box],
        "answers": answers,
    }
