"""Compile a bundle's graphs into engines: one strongly typed path for every flavour and precision."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...bundle import Bundle, GraphInfo, SearchSize
from ...errors import BackendError, MissingExtra
from ...files import write_whole
from ...progress import SILENT, Progress, Task
from .device import Gpu
from .flavour import Flavour
from .lint import require_int8_safe
from .plan import Plan, is_plan, read_plan
from .store import FORMAT, TIMING_CACHE, EngineInfo, OptimizationProfile, Stored, folder_for, stem, write_engine


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build.

    Attributes:
        max_batch: Largest number of targets that an engine takes at once; a single target always has its own profile.
        level: TensorRT's builder optimisation level, 0 to 5; None leaves its default, 3.
        compute_capability: The one to build for, such as ``"8.9"``; None for every one the flavour knows. Only
            TensorRT-RTX has a choice.
        workspace: Limit of the builder's scratch memory, in MB; None for all that the GPU has.
    """

    max_batch: int = 64
    level: int | None = None
    compute_capability: str | None = None
    workspace: int | None = None

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise BackendError(f"max_batch (--max-batch) is a number of targets, at least 1, not {self.max_batch}.")
        if self.level is not None and not 0 <= self.level <= 5:
            raise BackendError(f"level (--level) is TensorRT's optimisation level, 0 to 5, not {self.level}.")

    @property
    def profiles(self) -> list[OptimizationProfile]:
        """One profile for a single target, and one for any number of them, chosen for half the largest."""
        single = OptimizationProfile(1, 1, 1)
        if self.max_batch == 1:
            return [single]
        return [single, OptimizationProfile(1, max(1, self.max_batch // 2), self.max_batch)]


def build_engines(
    bundle: Bundle,
    precision: str,
    flavour: Flavour,
    gpu: Gpu | None,
    options: BuildOptions | None = None,
    progress: Progress = SILENT,
    search_size: SearchSize = "auto",
) -> list[Stored]:
    """Build the template engine and the search engines of one precision, and store them in the bundle.

    Args:
        bundle: An opened bundle.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``; the bundle's graphs carry it.
        flavour: The TensorRT to build with.
        gpu: The GPU in this machine, or None.
        options: How to build.
        progress: Receives the builder's phases, from its own threads.
        search_size: Side of the search crops in pixels, ``"auto"`` for all sides the bundle holds, or None for its
            default side.

    Returns:
        The template engine, and the search engines by side, smallest first.

    Raises:
        BundleError: The bundle lacks such graphs, a file is damaged, or the engines cannot be written.
        BackendError: TensorRT refuses a graph, or cannot build for the GPU asked for.
    """
    options = options or BuildOptions()
    targets = flavour.targets(gpu.compute_capability if gpu else None, options.compute_capability)
    folder = folder_for(bundle, flavour, gpu, options.compute_capability)
    pairs = [bundle.graphs("tensorrt", precision, side) for side in bundle.sizes_of("tensorrt", precision, search_size)]
    graphs = {graph.file: graph for graph in (*(p.template for p in pairs), *(p.search for p in pairs))}
    stored = []
    for graph in graphs.values():
        path = bundle.path(graph)
        if graph.precision == "int8":
            _lint(path)
        progress.message(f"building {stem(graph)}.engine with {flavour.label}")
        stored.append(_build(path, graph, folder, flavour, gpu, targets, options, progress))
    return stored


def _build(
    path: Path,
    graph: GraphInfo,
    folder: Path,
    flavour: Flavour,
    gpu: Gpu | None,
    targets: tuple[str, ...],
    options: BuildOptions,
    progress: Progress,
) -> Stored:
    cache = folder / TIMING_CACHE
    reused = cache.read_bytes() if cache.is_file() else b""
    began = time.perf_counter()
    compiled = compile_graph(path, flavour, options, reused, progress)
    seconds = time.perf_counter() - began
    folder.mkdir(parents=True, exist_ok=True)
    if compiled.timing_cache:
        write_whole(cache, compiled.timing_cache)
    file = f"{stem(graph)}.engine"
    for_any = gpu is None or not flavour.needs_gpu_to_build
    info = EngineInfo(
        format=FORMAT,
        file=file,
        sha256=hashlib.sha256(memoryview(compiled.blob)).hexdigest(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        role=graph.role,
        precision=graph.precision,
        graph=graph.file,
        graph_sha256=graph.sha256,
        flavour=flavour.name,
        version=flavour.version,
        gpu="" if for_any or gpu is None else gpu.name,
        compute_capabilities=list(targets),
        driver=gpu.driver if gpu else "",
        cuda=gpu.cuda if gpu else "",
        profiles=options.profiles,
        level=compiled.level,
        build_seconds=round(seconds, 3),
        timing_cache=len(reused),
        plan=compiled.plan,
    )
    return write_engine(folder, compiled.blob, info)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A built engine before it is stored.

    Attributes:
        blob: Buffer of the engine.
        plan: What the builder made of the graph; None where it did not tell.
        timing_cache: Buffer of the timing cache.
        level: Builder optimisation level that was used.
    """

    blob: Any
    plan: Plan | None
    timing_cache: Any
    level: int


def compile_graph(
    path: Path, flavour: Flavour, options: BuildOptions, timing_cache: bytes = b"", progress: Progress = SILENT
) -> Compiled:
    """Parse one ONNX file and build its engine.

    Args:
        path: The ONNX file.
        flavour: The TensorRT to build with.
        options: How to build.
        timing_cache: Content of an earlier timing cache; empty for none.
        progress: Receives the builder's phases, from its own threads.

    Raises:
        BackendError: TensorRT cannot parse or build it; the message carries its own words.
    """
    trt = flavour.trt
    logger = _make_logger(trt)
    builder = _make_builder(flavour, logger)
    network = builder.create_network(flavour.network_flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        said = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise BackendError(f"{flavour.label} cannot read {path}: {said or logger.why()}.")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    monitor = _make_monitor(trt, progress)  # kept here: the builder holds no reference
    config.progress_monitor = monitor
    if options.level is not None:
        config.builder_optimization_level = options.level
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    flavour.set_targets(config, options.compute_capability)
    for profile in options.profiles:
        config.add_optimization_profile(_shapes(builder, network, profile))
    cache = config.create_timing_cache(timing_cache)
    if not config.set_timing_cache(cache, ignore_mismatch=False):  # of another GPU or version: start afresh
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    blob = builder.build_serialized_network(network, config)
    if blob is None:
        raise BackendError(
            f"{flavour.label} cannot build {path}: {logger.why()}; try another precision, a smaller largest batch, or "
            "export the bundle again."
        )
    kept = config.get_timing_cache()
    serialized = kept.serialize() if kept is not None else None
    return Compiled(blob, read_plan(logger.plan), serialized, int(config.builder_optimization_level))


def _make_builder(flavour: Flavour, logger: Any) -> Any:
    try:
        return flavour.trt.Builder(logger)
    except TypeError as error:  # pybind11's words for "the factory returned nothing"
        raise BackendError(
            f"{flavour.label} cannot start its builder on this machine ({logger.why()}): it needs an NVIDIA GPU and a "
            "driver that fits it (nvidia-smi)."
        ) from error


def _shapes(builder: Any, network: Any, profile: OptimizationProfile) -> Any:
    made = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        rest = tuple(tensor.shape)[1:]
        made.set_shape(tensor.name, (profile.min, *rest), (profile.opt, *rest), (profile.max, *rest))
    return made


def _lint(path: Path) -> None:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("checking an int8 graph", "trt", error.name or "onnx") from error
    require_int8_safe(onnx.load(path), path.name)


def _make_logger(trt: Any) -> Any:
    """A logger that keeps errors and the plan; what the builder says besides goes nowhere."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.plan = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message.strip())
            elif is_plan(message):
                self.plan += message + "\n"

        def why(self) -> str:
            """The errors so far, in one line."""
            return "; ".join(self.errors[-3:]).replace("\n", " ") or "it gave no reason"

    return Logger()


def _make_monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.open: list[tuple[str, Task]] = []  # names repeat: the phase that began last is meant

        def find(self, name: str) -> tuple[str, Task] | None:
            return next((phase for phase in reversed(self.open) if phase[0] == name), None)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.open.append((phase_name, progress.task("  " * len(self.open) + phase_name, max(num_steps, 1))))

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase := self.find(phase_name):
                phase[1].advance()
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase := self.find(phase_name):
                self.open.remove(phase)
                phase[1].finish()

    return Monitor()
