"""Engines on disk: pure engine files, each with a sidecar that says what it was built from, with and for.

``engines/<flavour>-<version>-<gpu>/<role>.<precision>.engine`` and ``.json``, and one timing cache per folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...bundle import Bundle, GraphInfo, TrackerSpec, parse
from ...errors import BackendError, BundleError
from ...files import inside, sha256, write_whole
from .device import Gpu
from .flavour import RTX, Flavour
from .plan import Plan

FORMAT = 2
"""Version of the sidecar's format; engines with sidecars of a newer one are not used."""
TIMING_CACHE = "timing.cache"
PREFERENCE = ("fp16", "int8", "fp32")
"""Order in which a precision is chosen if none was asked for: fp16 is the one that is both fast and close."""
_FIRST_NAMES = {"least": "min", "best": "opt", "most": "max"}
"""What format 1 called the batch sizes of an optimisation profile."""


@dataclass(frozen=True, slots=True)
class OptimizationProfile:
    """The batch sizes of one of TensorRT's optimisation profiles.

    Attributes:
        min: Smallest number of targets.
        opt: Number of targets that kernels are chosen for.
        max: Largest number of targets.
    """

    min: int
    opt: int
    max: int


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine's sidecar.

    Attributes:
        format: Version of the sidecar's format.
        file: Name of the engine's file.
        sha256: Hexadecimal digest of the engine's bytes.
        created: When it was built, in ISO 8601.
        role: ``"template"`` or ``"search"``.
        precision: Precision of the graph.
        graph: Name of the graph's file.
        graph_sha256: Hexadecimal digest of the graph's bytes.
        flavour: Python module of the TensorRT that built it.
        version: Version of that TensorRT.
        gpu: Name of the GPU it was built for; empty where it runs on every GPU of ``compute_capabilities``.
        compute_capabilities: Compute capabilities it runs on, such as ``"8.9"``.
        driver: Version of the GPU's driver; empty where it was built without a GPU.
        cuda: Version of CUDA; empty where it was built without a GPU.
        profiles: Its optimisation profiles.
        level: TensorRT's builder optimisation level.
        build_seconds: How long the build took.
        timing_cache: Bytes of the timing cache that the build could reuse.
        plan: What the builder made of the graph; None where it did not tell.
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
    profiles: list[OptimizationProfile]
    level: int
    build_seconds: float
    timing_cache: int
    plan: Plan | None

    @property
    def built_for(self) -> str:
        """The TensorRT and the GPU that the engine fits, in words."""
        name = "TensorRT-RTX" if self.flavour == RTX else "TensorRT"
        return f"{name} {self.version} on {self.gpu or 'any GPU'} ({', '.join(self.compute_capabilities)})"


@dataclass(frozen=True, slots=True)
class Stored:
    """An engine file and its sidecar."""

    path: Path
    info: EngineInfo


def folder_for(bundle: Bundle, flavour: Flavour, gpu: Gpu | None, asked: str | None) -> Path:
    """Where engines are kept.

    Args:
        bundle: The bundle they are built from.
        flavour: The TensorRT they are built with.
        gpu: The GPU they are built for; None for any.
        asked: The single compute capability they are built for; None for all.
    """
    if gpu is not None and flavour.needs_gpu_to_build:
        where = f"{_slug(gpu.name)}-sm{gpu.compute_capability.replace('.', '')}"
    else:
        where = f"sm{asked.replace('.', '')}" if asked else "any"
    return bundle.engines / f"{flavour.name}-{flavour.version}-{where}"


def stem(graph: GraphInfo) -> str:
    """Name of a graph's engine without its ending; a search graph of another side than the default says its side."""
    side = f".s{graph.side}" if _of_side(graph) else ""
    return f"{graph.role}{side}.{graph.precision}"


def write_engine(folder: Path, blob: Any, info: EngineInfo) -> Stored:
    """Write an engine and its sidecar, each whole or not at all.

    Raises:
        BundleError: The folder cannot be written.
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
            info: EngineInfo = parse(EngineInfo, _renamed(content), sidecar.name)
        except (OSError, ValueError, TypeError, RecursionError):
            continue
        path = sidecar.with_suffix(".engine")
        if info.format <= FORMAT and info.file == path.name and inside(bundle.folder, path):  # links may lead out
            yield Stored(path, info)


def _renamed(content: Any) -> Any:
    """A parsed sidecar with the names of today's format; those of format 1 are read for ever."""
    if isinstance(content, dict) and isinstance(content.get("profiles"), list):
        profiles = [
            {_FIRST_NAMES.get(k, k): v for k, v in p.items()} if isinstance(p, dict) else p for p in content["profiles"]
        ]
        return {**content, "profiles": profiles}
    return content


def find_engine(bundle: Bundle, graph: GraphInfo, flavours: Sequence[Flavour], gpu: Gpu) -> tuple[Stored, Flavour]:
    """The engine of a graph that fits one of the installed flavours and this GPU.

    Args:
        bundle: The bundle that holds the engines.
        graph: The graph to run.
        flavours: The installed TensorRT packages.
        gpu: The GPU in this machine.

    Returns:
        The engine, and the flavour that runs it.

    Raises:
        BackendError: There is none. The message says what the nearest one was built for, what was found here, and the
            command that builds the right one.
    """
    remedy = f"run  mvt-deploy build{_flag(graph)} --model {bundle.folder}."
    here = f"{' and '.join(f.label for f in flavours)} on {gpu.name} ({gpu.compute_capability})"
    nearest: tuple[int, str] | None = None
    for engine in stored_engines(bundle):
        if (engine.info.role, engine.info.graph) != (graph.role, graph.file):
            continue
        for flavour in flavours:
            wrong = mismatches(engine, graph, flavour, gpu)
            if not wrong:
                return engine, flavour
            if nearest is None or len(wrong) < nearest[0]:
                nearest = len(wrong), f"({'; '.join(wrong)}) built for {engine.info.built_for}, found {here}"
    if nearest is None:
        raise BackendError(
            f"bundle {bundle.folder} has no {graph.precision} {graph.role} engine{_of_side(graph)}, found {here}: "
            f"{remedy}"
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
    """The precision to run if none was asked for: the first of :data:`PREFERENCE` with an engine, or else fp16."""
    held = {engine.info.precision for engine in stored_engines(bundle) if engine.info.role == "search"}
    return next((p for p in PREFERENCE if p in held), PREFERENCE[0])


def _of_side(graph: GraphInfo) -> str:
    """The side of a search graph in words, where it is not the default one."""
    return f" of side {graph.side}" if graph.role == "search" and graph.side != TrackerSpec().search_size else ""


def _flag(graph: GraphInfo) -> str:
    return "" if graph.precision == "fp32" else f" --{graph.precision}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
