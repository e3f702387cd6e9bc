"""The bundle: a folder of graphs and a manifest, written whole or not at all and checked before anything runs it.

This is the only module that knows the folder's layout.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .errors import BundleError
from .files import draft_folder, inside, sha256, write_whole
from .onnx_file import outline

FORMAT = 1
"""Version of the manifest's format; a reader refuses newer ones."""
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint.safetensors"
ENGINES = "engines"
"""Subfolder of the engines built from the graphs, each for one kind of machine."""
DEFAULT = Path("models/mvt")
"""Where bundles are written and looked for unless told otherwise."""

LARGEST_CROP = 4096
"""Side in pixels of the largest crop a manifest may ask for."""
_LARGEST = sys.float_info.max

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """What the tracker must know of a model: crop sides in pixels, area factors, stride in pixels per cell."""

    template_size: int = 128
    search_size: int = 256
    template_factor: float = 2.0
    search_factor: float = 4.0
    stride: int = 16
    window: str = "hann"
    colour: str = "BGR"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a graph; ``"n"`` in the shape is the number of targets."""

    name: str
    dtype: str
    shape: list[int | str]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from the PyTorch network on real crops.

    ``max_abs`` is the largest difference of any output, ``box_px`` of a box side or centre in pixels of the search crop
    (0 for a template graph); ``tolerance`` is the bound on ``max_abs`` the export enforced.
    """

    reference: str
    cases: int
    max_abs: float
    box_px: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What an int8 graph's activation ranges come from.

    ``method`` chose the ranges, measured on ``pairs`` pairs of crops whose files have the digest ``data``; the nodes
    ``kept`` stayed in floating point.
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
    """What a precision does to trajectories: a candidate against the fp32 reference, over clips.

    Args:
        reference: what ran the fp32 graphs: backend, provider and precision.
        candidate: what was judged.
        precision: of the candidate.
        target: of the candidate's search graph (a :class:`GraphInfo`'s).
        clips: how many were tracked.
        frames: over all clips, without their first.
        nonfinite: frames on which the candidate returned a value that is not finite.
        mean_iou: of the two trajectories, over all frames, 0..1.
        worst_clip: where they are furthest apart.
        ao_reference: average overlap of the reference with the ground truth, 0..1.
        ao_candidate: of the candidate.
        ao_drop: the first minus the second; negative where the candidate does better.
        ao_drop_low: lower end of its 95% interval (paired bootstrap over clips).
        ao_drop_high: upper end.
        same_windows_drop: drop of AO where the candidate is asked about the windows that the reference cut.
        same_windows_iou: mean IoU of the two boxes in those windows.
        score_drift: mean absolute difference of the scores (0..1) of the same frame.
        score_drift_max: the largest.
        limit: the largest drop that passes.
        passed: every output is finite, and both drops are within the limit (of the paths: or not shown to exceed it).
        reason: one sentence that says why.
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


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """One ONNX file of the bundle; an int8 search graph's template graph is a floating-point file listed again."""

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


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """The parameters the graphs were made from. ``source`` is the name of the file the user gave."""

    file: str
    sha256: str
    parameters: int
    source: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """``manifest.json``. ``gates`` holds what the graphs below fp32 did to trajectories, where that was judged."""

    format: int
    name: str
    created: str
    checkpoint: CheckpointInfo
    tracker: TrackerSpec
    graphs: list[GraphInfo]
    tools: dict[str, str] = field(default_factory=dict)
    gates: list[Gate] = field(default_factory=list)


def parse(kind: Any, value: Any, where: str) -> Any:
    """``value`` of parsed JSON as the annotated type ``kind`` (dataclasses too); unknown keys of objects are ignored.

    Raises:
        ValueError: a value is missing, of another type, not finite or not printable; the message says where.
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
    if origin is list and isinstance(value, list):
        return [parse(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {str(k): parse(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin in (typing.Union, types.UnionType):
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
        size = {"template": spec.template_size, "search": spec.search_size}.get(graph.role)
        if size and graph.inputs[:1] != [TensorInfo("crop", "uint8", ["n", size, size, 3])]:
            yield f"graph {graph.file}, which takes no crops uint8 [n, {size}, {size}, 3]"
        grid = spec.search_size // max(spec.stride, 1)
        if graph.role == "search" and graph.outputs != [
            TensorInfo("box", "float32", ["n", 4]),
            TensorInfo("score", "float32", ["n"]),
            TensorInfo("score_map", "float32", ["n", grid, grid]),
        ]:
            yield f"graph {graph.file}, which gives no box, score and {grid}x{grid} score_map in float32"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def engines(self) -> Path:
        """The folder of the engines built from the bundle's graphs; it may not exist yet."""
        return self.folder / ENGINES

    def graph(self, role: str, precision: str = "fp32", targets: tuple[str, ...] = ("portable",)) -> GraphInfo:
        """The graph for a role (``template`` or ``search``), at a precision, for the first target that has one.

        Raises:
            BundleError: the bundle holds no such graph.
        """
        for target in targets:
            for graph in self.manifest.graphs:
                if (graph.role, graph.precision, graph.target) == (role, precision, target):
                    return graph
        held = ", ".join(sorted({f"{g.precision} ({g.target})" for g in self.manifest.graphs if g.role == role}))
        make = {"fp32": "", "fp16": " --fp16", "int8": " --int8"}
        remedy = (
            f"make one with  mvt-deploy export{make[precision]} -o {self.folder}."
            if precision in make
            else f"choose --precision {' or '.join(make)}."
        )
        raise BundleError(f"bundle {self.folder} has no {precision} {role} graph, only: {held or 'none'}; {remedy}")

    def path(self, graph: GraphInfo) -> Path:
        """The graph's file, after comparing its bytes with the manifest's hash, and what it declares with the manifest.

        Raises:
            BundleError: the file is missing or is not the one the manifest describes, has other inputs or outputs, or
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
        """The checkpoint's file, after comparing its bytes with the manifest's hash.

        Raises:
            BundleError: the file is missing or is not the one the manifest describes.
        """
        return self._verified(self.manifest.checkpoint.file, self.manifest.checkpoint.sha256)

    def verify(self) -> None:
        """Compare every file with the manifest.

        Raises:
            BundleError: a file is missing or differs.
        """
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


def exists(folder: str | os.PathLike[str]) -> bool:
    """True where the folder holds a manifest."""
    return (Path(folder) / MANIFEST).is_file()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any file's
        return False


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Read and check a bundle's manifest; files are hashed when they are asked for.

    Raises:
        BundleError: no bundle there, a manifest that cannot be read or is of a newer format, or one whose paths leave
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
    if version > FORMAT:
        raise BundleError(
            f"{path} has format {version}, this mvt-deploy reads up to {FORMAT}: update it (pip install -U mvt-deploy)."
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


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into a folder, whole or not at all."""
    write_whole(folder / MANIFEST, json.dumps(dataclasses.asdict(manifest), indent=1) + "\n")
