"""Make ``benchmarks/results/ort-session-<machine>.json``: what ONNX Runtime's session settings cost or give here.

python benchmarks/ort_session.py [--model DIR] [--seconds S] [--results DIR]

Every setting takes turns with the runtime's defaults on the same search crops; a ratio above 1 is faster than the
defaults, its interval a bootstrap over turns. Start-up (opening a session) and ``mvt-deploy track``'s pipeline, where
decoding and cutting run beside the session, are measured in turns too. The sessions of the first two measurements are
opened here and not by ``mvt_deploy.backends.onnx_session``, since their settings are what is compared.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer
from reports import RESULTS, script, write_for_machine

from mvt_deploy.backends.ort import OrtBackend
from mvt_deploy.bench.clip import encode, photograph
from mvt_deploy.bench.machine import describe
from mvt_deploy.bench.statistics import latency, ratio
from mvt_deploy.bundle import DEFAULT, Bundle, open_bundle
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import UserError
from mvt_deploy.tracker import Tracker
from mvt_deploy.video.session import Outputs, track_source
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import choose_targets

OUTPUTS = ["box", "score"]
TURN, PAUSE = (
    5,
    0.004,
)  # searches per turn; pause between turns in seconds, so that the last turn's threads stop spinning
OPENINGS = 5
FRAMES, ROUNDS = 100, 8  # frames of the clip that is tracked end to end, and how often it is tracked

Configure = Callable[[onnxruntime.SessionOptions], None]
Search = Callable[[], Any]


@dataclass(frozen=True)
class Setting:
    """One change to the defaults, what was expected of it, and what was decided after measuring."""

    name: str
    expected: str
    decision: str
    configure: Configure = lambda options: None
    bind: bool = False


def entry(key: str, value: str) -> Configure:
    """A configuration entry of the session."""
    return lambda options: options.add_session_config_entry(key, value)


def attribute(name: str, value: Any) -> Configure:
    """An attribute of the session's options."""
    return lambda options: setattr(options, name, value)


LEVEL = onnxruntime.GraphOptimizationLevel
SETTINGS = (
    Setting("defaults", "-", "-"),
    Setting("defaults again", "1.0: what differs here is noise", "-"),
    Setting(
        "one thread",
        "0.55: the large convolutions and products divide well",
        "not taken; --threads 1 is there for those who run several trackers",
        attribute("intra_op_num_threads", 1),
    ),
    Setting(
        "no spinning",
        "0.9: threads are woken for each of 200 parallel operators",
        "not taken",
        entry("session.intra_op.allow_spinning", "0"),
    ),
    Setting("no arena", "0.97: malloc for every tensor", "not taken", attribute("enable_cpu_mem_arena", False)),
    Setting("no memory pattern", "1.0", "not taken", attribute("enable_mem_pattern", False)),
    Setting(
        "extended optimisation",
        "0.75: convolutions lose the blocked layout",
        "not taken",
        attribute("graph_optimization_level", LEVEL.ORT_ENABLE_EXTENDED),
    ),
    Setting(
        "basic optimisation",
        "0.7: no fused activations either",
        "not taken",
        attribute("graph_optimization_level", LEVEL.ORT_ENABLE_BASIC),
    ),
    Setting(
        "parallel execution",
        "0.95: the graph is a chain, its template branch is short",
        "not taken",
        attribute("execution_mode", onnxruntime.ExecutionMode.ORT_PARALLEL),
    ),
    Setting("bound inputs and outputs", "1.00: 1.2 MB of inputs are not copied on a CPU", "not taken", bind=True),
    Setting(
        "denormals as zero",
        "1.0: ReLUs and sigmoids here give no denormals; a safeguard",
        "not taken",
        entry("session.set_denormal_as_zero", "1"),
    ),
    Setting(
        "dynamic block base 4",
        "1.02: work is divided in ever smaller parts",
        "not taken",
        entry("session.dynamic_block_base", "4"),
    ),
    Setting(
        "no prepacking", "0.9: weights are packed in every run", "not taken", entry("session.disable_prepacking", "1")
    ),
    Setting(
        "batch fixed to 1",
        "1.01: shapes are known, a few shape operators go",
        "not taken: it would refuse a second target",
        lambda options: options.add_free_dimension_override_by_name("n", 1),
    ),
)
PIPELINE = ("defaults", "defaults again", "one thread", "no spinning", "dynamic block base 4")


@dataclass
class Measured:
    """Figures of one setting; see :class:`Setting` for the first three."""

    name: str
    expected: str
    decision: str
    ratio: dict[str, float] = field(default_factory=dict)
    search_ms: dict[str, float] = field(default_factory=dict)
    cpu_ms_per_search: float = 0.0
    difference: float = 0.0


def options_of(setting: Setting) -> onnxruntime.SessionOptions:
    """Session options with one setting changed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    setting.configure(options)
    return options


def opened(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """A session on the CPU."""
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def searcher(path: Path, setting: Setting, inputs: dict[str, Any]) -> Search:
    """A search of one crop in a session with the setting."""
    session = opened(path, options_of(setting))
    if not setting.bind:
        return lambda: session.run(OUTPUTS, inputs)
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
    for name, shape in (("box", (1, 4)), ("score", (1,))):
        binding.bind_ortvalue_output(
            name, onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cpu", 0)
        )

    def run() -> list[Any]:
        session.run_with_iobinding(binding)
        outputs: list[Any] = binding.copy_outputs_to_cpu()
        return outputs

    return run


def graphs(bundle: Bundle) -> tuple[Path, Path]:
    """The template and search graphs that the backend runs on a CPU."""
    pair = bundle.graphs("ort")
    return bundle.path(pair.template), bundle.path(pair.search)


def crops(template: Path) -> dict[str, Any]:
    """Inputs of a search of one real crop."""
    pair = photograph_pairs(1)
    session = opened(template, options_of(SETTINGS[0]))
    names = [o.name for o in session.get_outputs()]
    return {"crop": pair.search, **dict(zip(names, session.run(names, {"crop": pair.template}), strict=True))}


def searches(path: Path, inputs: dict[str, Any], seconds: float) -> list[Measured]:
    """All settings in turns, each for the given time."""
    runs = [searcher(path, setting, inputs) for setting in SETTINGS]
    rows = [Measured(s.name, s.expected, s.decision) for s in SETTINGS]
    first = runs[0]()
    for run, row in zip(runs, rows, strict=True):
        row.difference = max(float(np.abs(a - b).max()) for a, b in zip(first, run(), strict=True))
        for _ in range(2 * TURN):
            run()
    turns: list[list[list[float]]] = [[] for _ in runs]
    cpu = [0.0 for _ in runs]
    random = np.random.default_rng(0)
    end = time.monotonic() + seconds * len(runs)
    while time.monotonic() < end:
        for i in random.permutation(len(runs)):  # no setting always follows the same one
            run = runs[i]
            time.sleep(PAUSE)
            run()  # cold caches
            began = time.process_time()
            turns[i].append([timed(run) for _ in range(TURN)])
            cpu[i] += time.process_time() - began
    for row, turn, spent in zip(rows, turns, cpu, strict=True):
        row.ratio = asdict(ratio(turns[0], turn))
        row.search_ms = asdict(latency([t for group in turn for t in group]))
        row.cpu_ms_per_search = 1e3 * spent / (TURN * len(turn))
    return rows


def timed(run: Search) -> float:
    """Seconds of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def open_and_search(path: Path, options: onnxruntime.SessionOptions, inputs: dict[str, Any]) -> None:
    """Open a session and run it once."""
    opened(path, options).run(OUTPUTS, inputs)


def start_up(path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """Seconds to open a session and run it once: the bundle's graph, and its optimised form as the runtime saves it."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "optimised.onnx"
        options = options_of(SETTINGS[0])
        options.optimized_model_filepath = str(saved)
        opened(path, options)
        ready = options_of(SETTINGS[0])
        ready.graph_optimization_level = LEVEL.ORT_DISABLE_ALL
        ways = {"graph": (path, options_of(SETTINGS[0])), "saved": (saved, ready)}
        spent: dict[str, list[list[float]]] = {name: [] for name in ways}
        for _ in range(OPENINGS):
            for name, (file, chosen) in ways.items():
                spent[name].append([timed(partial(open_and_search, file, chosen, inputs))])
    return {
        "graph_ms": 1e3 * float(np.median(spent["graph"])),
        "saved_optimised_ms": 1e3 * float(np.median(spent["saved"])),
        "ratio": asdict(ratio(spent["graph"], spent["saved"])),
        "expected": "1.5: no optimiser runs",
        "decision": "not taken: the file holds this machine's blocked weights and must not travel with the bundle",
    }


def pipeline(bundle: Bundle) -> list[dict[str, Any]]:
    """Frames a second of the whole tracking pipeline, the settings taking turns."""
    chosen = [s for s in SETTINGS if s.name in PIPELINE]
    clip = photograph()
    box = ",".join(str(v) for v in clip.box.as_tuple())
    rounds: dict[str, list[float]] = {s.name: [] for s in chosen}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        video = Path(folder) / "clip.mp4"
        if not encode((clip.frame(i) for i in range(FRAMES)), video):
            raise UserError("this OpenCV cannot write an mp4 video: pip install --force-reinstall opencv-python.")
        backends = {s.name: OrtBackend(bundle, configure=s.configure) for s in chosen}
        for backend in backends.values():
            stack.callback(backend.close)
        for name in interleaved(chosen):
            source = open_source(video)
            summary = track_source(source, choose_targets(source, [box]), Tracker(backends[name]), Outputs())
            rounds[name].append(summary.outcome.fps)
    base = [[1 / fps] for fps in rounds["defaults"]]
    return [
        {
            "name": name,
            "fps": float(np.median(fps)),
            "fps_by_round": fps,
            "ratio": asdict(ratio(base, [[1 / f] for f in fps])),
        }
        for name, fps in rounds.items()
    ]


def interleaved(settings: list[Setting]) -> Iterator[str]:
    """Names in turns, each turn in another order."""
    random = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for i in random.permutation(len(settings)):
            yield settings[i].name


def main(
    model: Annotated[Path, typer.Option("--model", help="Folder of the bundle.")] = DEFAULT,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Measuring time per setting, in seconds.")] = 4.0,
    results: Annotated[Path, typer.Option("--results", help="Folder that the results are written to.")] = RESULTS,
) -> None:
    """Measure the session's settings on this machine."""
    ensure_model(model)
    bundle = open_bundle(model)
    template, search = graphs(bundle)
    inputs = crops(template)
    say(f"measuring {len(SETTINGS)} settings")
    rows = searches(search, inputs, seconds)
    for row in rows:
        r = row.ratio
        say(f"  {row.name:26} {r['value']:.3f} ({r['low']:.3f}-{r['high']:.3f})  {row.search_ms['median_ms']:.2f} ms")
    say("measuring start-up and the pipeline")
    machine = describe()
    report = {
        "machine": machine,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "graph": search.name,
        "turn": TURN,
        "searches": [asdict(row) for row in rows],
        "start_up": start_up(search, inputs),
        "pipeline": pipeline(bundle),
    }
    write_for_machine(results, "ort-session", report)


if __name__ == "__main__":
    script(main)
