"""The bundle: a folder of graphs and a manifest, written whole or not at all and checked before anything runs it.

This is the only module that knows the folder's layout, and which of its graphs a runtime uses.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import sys
import types
import typing
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from .errors import BundleError
from .files import draft_folder, inside, sha256, write_whole
from .onnx_file import outline

FORMAT = 1
"""Version of the manifest's format where every search graph takes the tracker's default side."""
FORMAT_SIDES = 2
"""Version where search graphs of other sides are there too; a reader refuses versions above this one."""
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint.safetensors"
ENGINES = "engines"
"""Subfolder of the engines built from the graphs, each for one kind of machine."""
DEFAULT = Path("models/mvt")
"""Where ``export`` writes a bundle unless told otherwise; see :mod:`.default_bundle` for where others look for it."""
RUNTIMES: dict[str, tuple[str, ...]] = {
    "ort": ("ort", "portable"),
    "openvino": ("openvino", "portable"),
    "tensorrt": ("tensorrt", "portable"),
    "portable": ("portable",),
}
"""For each runtime, the targets of the graphs it runs, best first; ``portable`` stands for every other ONNX runtime."""

LARGEST_CROP = 4096
"""Side in pixels of the largest crop a manifest may ask for."""
SIDE_MULTIPLE = 32
"""Sides of search crops that the network takes are multiples of this: stride 16, and patches of two by two cells."""
SIDES = (192, 224, 256, 320)
"""Sides that ``search_size="auto"`` stands for in a runtime that runs the network itself and needs no graphs."""
_LARGEST = sys.float_info.max

SearchSize = int | Literal["auto"] | None
"""Side of the search crops in pixels; ``"auto"`` for all sides a bundle holds, None for the bundle's default."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """What the tracker must know of a model.

    Attributes:
        template_size: Side of the template crop, in pixels.
        search_size: Side of the search crop, in pixels.
        template_factor: Side of the template window over the square root of the box's area.
        search_factor: Side of the search window over the square root of the box's area.
        stride: Pixels of the search crop per cell of the score map.
        window: Window that the score map is weighted with before its peak is taken.
        colour: Order of the crops' channels.
    """

    template_size: int = 128
    search_size: int = 256
    template_factor: float = 2.0
    search_factor: float = 4.0
    stride: int = 16
    window: str = "hann"
    colour: str = "BGR"

    def at(self, search_size: int) -> TrackerSpec:
        """The specification at another side of the search crop, with the same pixels per frame pixel.

        Args:
            search_size: Side of the search crop, in pixels. 192 instead of 256 turns the factor 4 into 3.

        Raises:
            BundleError: The network cannot take this side.
        """
        if search_size == self.search_size:
            return self
        if not SIDE_MULTIPLE <= search_size <= LARGEST_CROP or search_size % SIDE_MULTIPLE:
            raise BundleError(
                f"a search size is a multiple of {SIDE_MULTIPLE} pixels, {SIDE_MULTIPLE} to {LARGEST_CROP}, "
                f"not {search_size}."
            )
        factor = self.search_factor * search_size / self.search_size
        return dataclasses.replace(self, search_size=search_size, search_factor=factor)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a graph; ``"n"`` in the shape is the number of targets."""

    name: str
    dtype: str
    shape: list[int | str]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from the PyTorch network on real crops.

    Attributes:
        reference: What the graph was compared with.
        cases: Number of crop pairs.
        max_abs: Largest absolute difference of any output.
        box_px: Largest difference of a box's centre or side, in pixels of the search crop; 0 for a template graph.
        tolerance: Bound on ``max_abs`` that the export enforced.
    """

    reference: str
    cases: int
    max_abs: float
    box_px: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where an int8 graph's activation ranges come from.

    Attributes:
        method: How the ranges were chosen from the measured values.
        pairs: Number of crop pairs they were measured on.
        data: Digest of the crops' files.
        kept: Names of the nodes that stayed in floating point.
    """

    method: str
    pairs: int
    data: str
    kept: list[str]


@dataclass(frozen=True, slots=True)
class ClipOverlap:
    """A clip's name and the mean IoU of two trajectories in it, 0..1."""

    name: str
    iou: float


@dataclass(frozen=True, slots=True)
class Gate:
    """What a candidate does to trajectories, compared with the fp32 reference over clips.

    Attributes:
        reference: Backend, provider and precision of the reference.
        candidate: Backend, provider and precision of the candidate.
        precision: Precision of the candidate.
        target: Target of the candidate's search graph, as in :class:`GraphInfo`.
        clips: Number of clips tracked.
        frames: Number of frames over all clips, without the first frame of each.
        nonfinite: Number of frames on which the candidate returned a value that is not finite.
        mean_iou: Mean IoU of the two trajectories over all frames, 0..1.
        worst_clip: Clip in which the trajectories are furthest apart.
        ao_reference: Average overlap of the reference with the ground truth, 0..1.
        ao_candidate: Average overlap of the candidate with the ground truth, 0..1.
        ao_drop: ``ao_reference - ao_candidate``; negative where the candidate does better.
        ao_drop_low: Lower end of the drop's 95 % interval (paired bootstrap over clips).
        ao_drop_high: Upper end of that interval.
        same_windows_drop: Drop of AO where the candidate is given the windows that the reference cut.
        same_windows_iou: Mean IoU of the two boxes in those windows, 0..1.
        score_drift: Mean absolute difference of the two scores of a frame, 0..1.
        score_drift_max: Largest absolute difference of the two scores of a frame, 0..1.
        limit: Largest drop that passes.
        passed: Whether every output is finite and both drops are within the limit. The drop of the trajectories counts
            as within it unless it is shown to exceed it.
        reason: One sentence that says why it passed or failed.
        search_size: Side of the candidate's search crops in pixels, ``"auto"`` where the tracker chose it, or None for
            the bundle's default side.
    """

    reference: str
    candidate: str
    precision: str
    target: str
    clips: int
    frames: int
    nonfinite: int
    mean_iou: float
    worst_clip: ClipOverlap
    ao_reference: float
    ao_candidate: float
    ao_drop: float
    ao_drop_low: float
    ao_drop_high: float
    same_windows_drop: float
    same_windows_iou: float
    score_drift: float
    score_drift_max: float
    limit: float
    passed: bool
    reason: str
    search_size: int | str | None = None


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """One ONNX file of the bundle; an int8 search graph's template graph is a floating-point file listed again.

    Attributes:
        file: Name of the file in the bundle's folder.
        sha256: Hexadecimal digest of the file's bytes.
        role: ``"template"`` or ``"search"``.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        target: Runtime the graph was made for, or ``"portable"`` for any.
        opset: Version of ONNX's default operator set.
        inputs: Inputs in the file's order; ``crop`` is the first.
        outputs: Outputs in the file's order.
        rewrites: Names of the exact rewrites applied to the network.
        parity: How far the graph is from the PyTorch network.
        calibration: Where an int8 graph's activation ranges come from; None for other graphs.
    """

    file: str
    sha256: str
    role: str
    precision: str
    target: str
    opset: int
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    rewrites: list[str]
    parity: Parity
    calibration: Calibration | None = None

    @property
    def side(self) -> int:
        """Side in pixels of the crops that the graph takes."""
        side = self.inputs[0].shape[1]
        assert isinstance(side, int)  # checked when the manifest is opened
        return side


class GraphPair(NamedTuple):
    """The two graphs that a runtime runs together: the search graph takes the features the template graph gives."""

    template: GraphInfo
    search: GraphInfo


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """The parameters that the graphs were made from.

    Attributes:
        file: Name of the file in the bundle's folder.
        sha256: Hexadecimal digest of the file's bytes.
        parameters: Number of parameters.
        source: Name of the file that the user gave.
        stored: Whether the file is in the folder; a bundle for certain runtimes alone leaves it out.
    """

    file: str
    sha256: str
    parameters: int
    source: str
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Manifest:
    """``manifest.json``; ``gates`` holds the verdicts on graphs whose trajectories were judged."""

    format: int
    name: str
    created: str
    checkpoint: CheckpointInfo
    tracker: TrackerSpec
    graphs: list[GraphInfo]
    tools: dict[str, str] = field(default_factory=dict)
    gates: list[Gate] = field(default_factory=list)


def parse(kind: Any, value: Any, where: str) -> Any:
    """Parsed JSON as an annotated type.

    Args:
        kind: The type, which may be a dataclass. Unknown keys of its objects are ignored.
        value: The parsed JSON.
        where: Name of the value, for messages.

    Raises:
        ValueError: A value is missing, of another type, not finite or not printable; the message says where.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        hints = typing.get_type_hints(kind)
        made = {}
        for f in dataclasses.fields(kind):
            if f.name in value:
                made[f.name] = parse(hints[f.name], value[f.name], f"{where}.{f.name}")
            elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                raise ValueError(f"{where}.{f.name} is missing")
        return kind(**made)
    if origin is tuple and isinstance(value, list):  # of any length
        return tuple(parse(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is list and isinstance(value, list):
        return [parse(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {str(k): parse(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin in (typing.Union, types.UnionType):
        if type(value) is str and str in arguments:
            return parse(str, value, where)
        if type(value) in (int, float) and float in arguments:
            return parse(float, value, where)
        if any(type(value) is a for a in arguments):
            return value
        if isinstance(value, dict) and (nested := next((a for a in arguments if dataclasses.is_dataclass(a)), None)):
            return parse(nested, value, where)
    elif kind is float and type(value) in (int, float):
        if not abs(value) <= _LARGEST:  # JSON's NaN and Infinity, and integers no float can hold
            raise ValueError(f"{where} is no finite number")
        return float(value)
    elif kind is str and type(value) is str and not value.isprintable():  # would reach paths, terminals and reports
        raise ValueError(f"{where} holds characters that cannot be printed")
    elif type(value) is kind:
        return value
    raise ValueError(f"{where} is {type(value).__name__}, not {getattr(kind, '__name__', kind)}")


def _plain_name(name: str) -> bool:
    return bool(name) and name == os.path.basename(name) and name not in (".", "..") and not set(name) & set("\\:")


def _faults(manifest: Manifest) -> Iterator[str]:
    """What a well-formed manifest says that cannot be true of a bundle of MVT."""
    spec = manifest.tracker
    for name, side in (("template_size", spec.template_size), ("search_size", spec.search_size)):
        if not 1 <= spec.stride <= side <= LARGEST_CROP or side % spec.stride:
            yield f"tracker.{name} {side} at a stride of {spec.stride}"
    if not (1 <= spec.template_factor <= 100 and 1 <= spec.search_factor <= 100):
        yield f"tracker factors {spec.template_factor:g} and {spec.search_factor:g}"
    if (spec.window, spec.colour) != ("hann", "BGR"):
        yield f"tracker window {spec.window} and colour {spec.colour}"
    if Path(manifest.checkpoint.file).suffix != ".safetensors":
        yield f"checkpoint {manifest.checkpoint.file}, which is no .safetensors file"
    for graph in manifest.graphs:
        if Path(graph.file).suffix != ".onnx":
            yield f"graph {graph.file}, which is no .onnx file"
        size = spec.template_size
        if graph.role == "search":
            grid = graph.outputs[2].shape[-1] if len(graph.outputs) == 3 and graph.outputs[2].shape else None
            if not isinstance(grid, int) or graph.outputs != [
                TensorInfo("box", "float32", ["n", 4]),
                TensorInfo("score", "float32", ["n"]),
                TensorInfo("score_map", "float32", ["n", grid, grid]),
            ]:
                yield f"graph {graph.file}, which gives no box, score and square score_map in float32"
                continue
            size = grid * spec.stride
        if graph.role in ("template", "search") and (
            graph.inputs[:1] != [TensorInfo("crop", "uint8", ["n", size, size, 3])] or not 1 <= size <= LARGEST_CROP
        ):
            yield f"graph {graph.file}, which takes no crops uint8 [n, {size}, {size}, 3]"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def engines(self) -> Path:
        """The folder of the engines built from the bundle's graphs; it may not exist yet."""
        return self.folder / ENGINES

    @property
    def search_sizes(self) -> tuple[int, ...]:
        """Sides in pixels of the search crops that the bundle's graphs take, smallest first."""
        return tuple(sorted({g.side for g in self.manifest.graphs if g.role == "search"}))

    def sizes_of(self, runtime: str, precision: str = "fp32", search_size: SearchSize = None) -> tuple[int, ...]:
        """Sides of the search crops that a runtime opens at a precision.

        Args:
            runtime: One of :data:`RUNTIMES`.
            precision: As for :meth:`graphs`.
            search_size: None for the default side, a side in pixels, or ``"auto"`` for all that are there.

        Returns:
            The sides, smallest first; a single one unless ``search_size`` is ``"auto"``.

        Raises:
            BundleError: The bundle holds no such graph.
        """
        if search_size != "auto":
            return (self.graphs(runtime, precision, search_size).search.side,)
        default = self.graphs(runtime, precision).search  # the default side must be there
        held = self._held("search", default.precision, RUNTIMES[runtime])
        return tuple(sorted({graph.side for graph in held}))

    def graphs(self, runtime: str, precision: str = "fp32", search_size: int | None = None) -> GraphPair:
        """The graphs that a runtime runs at a precision.

        Args:
            runtime: One of :data:`RUNTIMES`.
            precision: ``"fp32"``, ``"fp16"``, ``"int8"``, or ``"bf16"``, which runs the fp32 graphs.
            search_size: Side of the search crops in pixels; None for the tracker's default.

        Returns:
            The search graph made for the runtime, or else the portable one, and the template graph whose features fit
            it, which may have another precision.

        Raises:
            BundleError: The bundle holds no such graph.
        """
        targets = RUNTIMES[runtime]
        search = self.graph("search", "fp32" if precision == "bf16" else precision, targets, search_size)
        for graph in self.manifest.graphs:
            if graph.role == "template" and graph.target in targets and graph.outputs == search.inputs[1:]:
                return GraphPair(graph, search)
        raise BundleError(
            f"bundle {self.folder} has no template graph whose features fit {search.file}: export the bundle again."
        )

    def graph(
        self,
        role: str,
        precision: str = "fp32",
        targets: tuple[str, ...] = ("portable",),
        search_size: int | None = None,
    ) -> GraphInfo:
        """One graph by what its manifest says of it. What a runtime should run, :meth:`graphs` answers.

        Args:
            role: ``"template"`` or ``"search"``.
            precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
            targets: The first of these that has such a graph counts.
            search_size: Side of a search graph's crops in pixels; None for the tracker's default.

        Raises:
            BundleError: The bundle holds no such graph.
        """
        spec = self.manifest.tracker
        side = spec.template_size if role == "template" else search_size or spec.search_size
        held = self._held(role, precision, targets)
        if fitting := [graph for graph in held if graph.side == side]:
            return min(fitting, key=lambda graph: targets.index(graph.target))
        make = {"fp32": "", "fp16": " --fp16", "int8": " --int8"}
        if held:
            sides = " and ".join(str(s) for s in sorted({graph.side for graph in held}))
            raise BundleError(
                f"bundle {self.folder} has no {precision} {role} graph of side {side}, only of {sides}: choose one of "
                f"these, or make it with  mvt-deploy export{make[precision]} --search-size {side} -o {self.folder}."
            )
        others = sorted({f"{g.precision} ({g.target})" for g in self.manifest.graphs if g.role == role})
        remedy = (
            f"make one with  mvt-deploy export{make[precision]} -o {self.folder}."
            if precision in make
            else f"choose the precision {' or '.join(make)}."
        )
        raise BundleError(
            f"bundle {self.folder} has no {precision} {role} graph, only: {', '.join(others) or 'none'}; {remedy}"
        )

    def _held(self, role: str, precision: str, targets: tuple[str, ...]) -> list[GraphInfo]:
        wanted = (role, precision)
        return [g for g in self.manifest.graphs if (g.role, g.precision) == wanted and g.target in targets]

    def path(self, graph: GraphInfo) -> Path:
        """The graph's file, after its bytes and what it declares were compared with the manifest.

        Raises:
            BundleError: The file is missing or is not the one the manifest describes, has other inputs or outputs, or
                keeps values in other files, which no hash covers.
        """
        path = self._verified(graph.file, graph.sha256)
        try:
            found = outline(path.read_bytes())
        except ValueError as error:
            raise BundleError(f"{path} is no ONNX model ({error}): do not use this bundle.") from error
        for what, held, said in (("inputs", found.inputs, graph.inputs), ("outputs", found.outputs, graph.outputs)):
            if held != tuple((t.name, t.dtype, tuple(t.shape)) for t in said):
                raise BundleError(f"{path} has other {what} than its manifest says: do not use this bundle.")
        if found.external:
            raise BundleError(f"{path} keeps values in other files, which no hash covers: do not use this bundle.")
        return path

    def checkpoint(self) -> Path:
        """The checkpoint's file, after its bytes were compared with the manifest's hash.

        Raises:
            BundleError: The bundle was exported without it, or the file is missing or is not the one the manifest
                describes.
        """
        if not self.manifest.checkpoint.stored:
            raise BundleError(
                f"bundle {self.folder} was exported for certain runtimes, without its checkpoint: "
                "export it again without --for."
            )
        return self._verified(self.manifest.checkpoint.file, self.manifest.checkpoint.sha256)

    def verify(self) -> None:
        """Compare every file with the manifest.

        Raises:
            BundleError: A file is missing or differs.
        """
        if self.manifest.checkpoint.stored:
            self.checkpoint()
        for graph in self.manifest.graphs:
            self.path(graph)

    def _verified(self, file: str, digest: str) -> Path:
        path = self.folder / file
        again = f"export it again with  mvt-deploy export -o {self.folder}."
        if not path.is_file():
            raise BundleError(f"bundle {self.folder} lacks its file {file}: copy the whole folder, or {again}")
        if not inside(self.folder, path):
            raise BundleError(f"{path} is a link that leads out of the bundle: copy the file itself, or {again}")
        if sha256(path) != digest:
            raise BundleError(
                f"{path} is not the file its manifest describes (truncated, edited or swapped): "
                f"copy it again, or {again}"
            )
        return path


def graph_file(role: str, precision: str = "fp32", target: str = "portable", search_size: int | None = None) -> str:
    """Name of a graph's file: ``search.onnx``, ``search.ort.onnx``, ``search.s192.int8.openvino.onnx`` and so on.

    Args:
        role: ``template`` or ``search``.
        precision: ``fp32``, ``fp16`` or ``int8``; fp32 is left out of the name.
        target: Runtime the graph was made for; ``portable`` is left out of the name.
        search_size: Side in pixels of the crops of a search graph; None and the default side are left out of the name.
    """
    side = [f"s{search_size}"] if search_size not in (None, TrackerSpec().search_size) else []
    parts = [
        role,
        *side,
        *([precision] if precision != "fp32" else []),
        *([target] if target != "portable" else []),
        "onnx",
    ]
    return ".".join(parts)


def exists(folder: str | os.PathLike[str]) -> bool:
    """True where the folder holds a manifest."""
    return (Path(folder) / MANIFEST).is_file()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any file's
        return False


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Read and check a bundle's manifest; the other files are hashed when they are asked for.

    Args:
        folder: The bundle's folder.

    Raises:
        BundleError: There is no bundle, or its manifest cannot be read, is of a newer format, or names files outside
            the folder.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not _is_file(path):
        raise BundleError(f"{folder} holds no bundle (no {MANIFEST}): make one with  mvt-deploy export -o {folder}.")
    if not inside(folder, path):
        raise BundleError(f"{path} is a link that leads out of the bundle: copy the file itself.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read as JSON ({error}): export the bundle again.") from error
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"{path} is no manifest of mvt-deploy (no format number): export the bundle again.")
    if version > FORMAT_SIDES:
        raise BundleError(
            f"{path} has format {version}, this mvt-deploy reads up to {FORMAT_SIDES}: "
            "update it (pip install -U mvt-deploy)."
        )
    try:
        manifest: Manifest = parse(Manifest, content, "manifest")
    except (ValueError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error}): export the bundle again.") from error
    if outside := [f for f in (manifest.checkpoint.file, *(g.file for g in manifest.graphs)) if not _plain_name(f)]:
        raise BundleError(f"{path} names files outside its folder ({', '.join(map(repr, outside))}): do not use it.")
    if faults := list(_faults(manifest)):
        raise BundleError(f"{path} cannot describe a bundle of MVT ({'; '.join(faults[:3])}): do not use it.")
    return Bundle(folder, manifest)


@contextmanager
def staging(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        BundleError: The place cannot be written, or holds something that is not a bundle.
    """
    folder = Path(folder).resolve()  # "." has no name
    if folder.exists() and not exists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise BundleError(f"{folder} exists and is no bundle: give another place with -o, or remove it.")
    try:
        with draft_folder(folder) as place:
            yield place
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle {folder} ({error.strerror or error}): give another place with -o."
        ) from error


def trim(bundle: Bundle, runtimes: Collection[str]) -> Bundle:
    """Remove the checkpoint and every graph that certain runtimes do not read from a bundle's folder.

    Args:
        bundle: The bundle; its files are removed and its manifest is written again.
        runtimes: Some of :data:`RUNTIMES`.

    Returns:
        The smaller bundle.

    Raises:
        BundleError: There is no such runtime.
    """
    if unknown := [name for name in runtimes if name not in RUNTIMES]:
        raise BundleError(f"there is no runtime '{unknown[0]}': choose from {', '.join(RUNTIMES)}.")
    kept: list[GraphInfo] = []
    precisions = {graph.precision for graph in bundle.manifest.graphs}
    for runtime, precision, side in itertools.product(runtimes, precisions, bundle.search_sizes):
        with contextlib.suppress(BundleError):  # not every runtime has graphs of every precision
            kept += bundle.graphs(runtime, precision, side)
    searches = {(g.precision, g.target, g.side) for g in kept if g.role == "search"}
    default = bundle.manifest.tracker.search_size
    manifest = dataclasses.replace(
        bundle.manifest,
        checkpoint=dataclasses.replace(bundle.manifest.checkpoint, stored=False),
        graphs=[graph for graph in bundle.manifest.graphs if graph in kept],
        gates=[g for g in bundle.manifest.gates if (g.precision, g.target, g.search_size or default) in searches],
    )
    write_manifest(bundle.folder, manifest)
    unused = {graph.file for graph in bundle.manifest.graphs} - {graph.file for graph in manifest.graphs}
    for file in (bundle.manifest.checkpoint.file, *unused):
        (bundle.folder / file).unlink(missing_ok=True)
    return Bundle(bundle.folder, manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into a folder, whole or not at all.

    The format written is the oldest that describes the graphs, so that earlier versions of this package read what they
    can, and call the rest newer instead of damaged.
    """
    sides = {g.side for g in manifest.graphs if g.role == "search"} - {manifest.tracker.search_size}
    content = dataclasses.asdict(dataclasses.replace(manifest, format=FORMAT_SIDES if sides else FORMAT))
    write_whole(folder / MANIFEST, json.dumps(content, indent=1) + "\n")
