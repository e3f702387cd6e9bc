"""Engines on disk: pure engine files, each with a sidecar that says what it was built from, with and for.

``engines/<flavour>-<version>-<gpu>/<role>.<precision>.engine`` and ``.json``, and one timing cache a folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...bundle import Bundle, GraphInfo, parse
from ...errors import BackendError, BundleError
from ...files import inside, sha256, write_whole
from .device import Gpu
from .flavour import RTX, Flavour
from .plan import Plan

FORMAT = 1
"""Version of the sidecar's format; sidecars of newer ones count as stale."""
TIMING_CACHE = "timing.cache"
PREFERENCE = ("fp16", "int8", "fp32")
"""Which precision runs if none was asked for: fp16 is the one that is both fast and close."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A range of batch sizes, and the one kernels are chosen for."""

    least: int
    best: int
    most: int


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine's sidecar.

    ``gpu`` is the GPU's name, empty for an engine that runs on every GPU of ``compute_capabilities``; ``driver`` and
    ``cuda`` are empty where it was built without a GPU. ``timing_cache`` is the bytes of it the build could reuse.
    """

    format: int
    file: str
    sha256: str
    created: str
    role: str
    precision: str
    graph: str
    graph_sha256: str
    flavour: str
    version: str
    gpu: str
    compute_capabilities: list[str]
    driver: str
    cuda: str
    profiles: list[Profile]
    level: int
    build_seconds: float
    timing_cache: int
    plan: Plan | None

    @property
    def built_for(self) -> str:
        """The software and hardware the engine fits, in words."""
        name = "TensorRT-RTX" if self.flavour == RTX else "TensorRT"
        return f"{name} {self.version} on {self.gpu or 'any GPU'} ({', '.join(self.compute_capabilities)})"


@dataclass(frozen=True, slots=True)
class Stored:
    """An engine file and its sidecar."""

    path: Path
    info: EngineInfo


def graph_pair(bundle: Bundle, precision: str) -> tuple[GraphInfo, GraphInfo]:
    """The template and the search graph TensorRT runs at a precision; their features have the same type.

    Raises:
        BundleError: the bundle lacks one of them.
    """
    search = bundle.graph("search", precision, ("tensorrt", "portable"))
    wanted = search.inputs[1:]
    for graph in bundle.manifest.graphs:
        if graph.role == "template" and graph.target in ("tensorrt", "portable") and graph.outputs == wanted:
            return graph, search
    raise BundleError(
        f"bundle {bundle.folder} has no template graph whose features fit {search.file}: export the bundle again."
    )


def folder_for(bundle: Bundle, flavour: Flavour, gpu: Gpu | None, asked: str | None) -> Path:
    """Where engines of a flavour for a GPU (None: for any) are kept."""
    if gpu is not None and flavour.needs_gpu_to_build:
        where = f"{_slug(gpu.name)}-sm{gpu.compute_capability.replace('.', '')}"
    else:
        where = f"sm{asked.replace('.', '')}" if asked else "any"
    return bundle.engines / f"{flavour.name}-{flavour.version}-{where}"


def stem(graph: GraphInfo) -> str:
    """Name of a graph's engine without its ending."""
    return f"{graph.role}.{graph.precision}"


def write_engine(folder: Path, blob: Any, info: EngineInfo) -> Stored:
    """Write an engine and its sidecar, each whole or not at all.

    Raises:
        BundleError: the folder cannot be written.
    """
    path = folder / info.file
    sidecar = path.with_suffix(".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sidecar.unlink(missing_ok=True)  # an engine without a sidecar is not looked at, whatever happens next
        write_whole(path, blob)
        write_whole(sidecar, (json.dumps(asdict(info), indent=1) + "\n").encode())
    except OSError as error:
        raise BundleError(f"cannot write engines into {folder} ({error.strerror}): is the bundle read-only?") from error
    return Stored(path, info)


def stored_engines(bundle: Bundle) -> Iterator[Stored]:
    """Every engine of a bundle with a sidecar that can be read."""
    for sidecar in sorted(bundle.engines.glob("*/*.json")):
        try:
            content = json.loads(sidecar.read_text(encoding="utf-8"))
            info: EngineInfo = parse(EngineInfo, content, sidecar.name)
        except (OSError, ValueError, TypeError, RecursionError):
            continue
        path = sidecar.with_suffix(".engine")
        if info.format <= FORMAT and info.file == path.name and inside(bundle.folder, path):  # links may lead out
            yield Stored(path, info)


def find_engine(bundle: Bundle, graph: GraphInfo, flavours: Sequence[Flavour], gpu: Gpu) -> tuple[Stored, Flavour]:
    """The engine of a graph that fits an installed flavour and this GPU.

    Raises:
        BackendError: there is none; the message says what the nearest one was built for, what was found here, and the
            command that builds the right one.
    """
    remedy = f"run  mvt-deploy build{_flag(graph)} --model {bundle.folder}."
    here = f"{' and '.join(f.label for f in flavours)} on {gpu.name} ({gpu.compute_capability})"
    nearest: tuple[int, str] | None = None
    for engine in stored_engines(bundle):
        if (engine.info.role, engine.info.precision) != (graph.role, graph.precision):
            continue
        for flavour in flavours:
            wrong = mismatches(engine, graph, flavour, gpu)
            if not wrong:
                return engine, flavour
            if nearest is None or len(wrong) < nearest[0]:
                nearest = len(wrong), f"({'; '.join(wrong)}) built for {engine.info.built_for}, found {here}"
    if nearest is None:
        raise BackendError(
            f"bundle {bundle.folder} has no {graph.precision} {graph.role} engine, found {here}: {remedy}"
        )
    raise BackendError(f"the {graph.precision} {graph.role} engine does not fit {nearest[1]}: {remedy}")


def mismatches(engine: Stored, graph: GraphInfo, flavour: Flavour, gpu: Gpu) -> list[str]:
    """Why an engine cannot run a graph here, in words; empty if it can."""
    info = engine.info
    wrong = []
    if info.graph_sha256 != graph.sha256:
        wrong.append("another graph")
    if (info.flavour, info.version) != (flavour.name, flavour.version):
        wrong.append("another TensorRT")
    if gpu.compute_capability not in info.compute_capabilities or (info.gpu and info.gpu != gpu.name):
        wrong.append("another GPU")
    if not wrong and (not engine.path.is_file() or sha256(engine.path) != info.sha256):
        wrong.append("a damaged file")
    return wrong


def default_precision(bundle: Bundle) -> str:
    """The precision to run if none was asked for: the best one that has an engine at all, fp16 if there is none."""
    held = {engine.info.precision for engine in stored_engines(bundle) if engine.info.role == "search"}
    return next((p for p in PREFERENCE if p in held), PREFERENCE[0])


def _flag(graph: GraphInfo) -> str:
    return "" if graph.precision == "fp32" else f" --{graph.precision}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
