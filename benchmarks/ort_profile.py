"""Make ``benchmarks/results/ort-profile-<machine>.json``: where ONNX Runtime spends a search, by operator and by part.

python benchmarks/ort_profile.py --model DIR [--row fp32:256 --row int8:256 --row int8:192] [--threads N] [--runs N]

The runtime's own profiler times every node of the optimised graph; a node's time is its shortest over all runs, which a
busy machine changes least. The rows take turns in blocks of runs.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import onnxruntime
import typer
from reports import RESULTS, script, write_for_machine

from mvt_deploy.backends.onnx_session import OnnxSession
from mvt_deploy.bench.machine import describe
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.cli.options import say
from mvt_deploy.crops import photograph_pairs
from mvt_deploy.errors import UserError

ROWS = ("fp32:256", "int8:256", "int8:192")
BLOCK = 10  # runs of a row in one turn
GROUPS = {
    "convolutions": {"Conv", "QLinearConv"},
    "matrix products": {"Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "MatMulIntegerToFloat", "QLinearMatMul"},
    "attention": {"MultiHeadAttention", "Softmax"},
    "LayerNormalization": {"LayerNormalization", "SkipLayerNormalization"},
    "to and from int8": {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"},
    "layout": {
        "ReorderInput", "ReorderOutput", "Transpose", "Reshape", "Concat", "QLinearConcat", "Split", "Slice",
        "Unsqueeze", "Squeeze", "Gather", "Flatten", "Expand",
    },
}  # fmt: skip
"""Operators by what they are for; all others are "elementwise and the rest"."""
HEAD = "locate"
"""What the names of the head's nodes begin with in int8; fused fp32 convolutions have lost theirs."""


def profiled(bundle: Bundle, precision: str, side: int, threads: int, prefix: Path) -> Callable[[], Any]:
    """A search that is profiled; the profile is written, to a file whose name begins so, when the search is let go."""
    pair = photograph_pairs(1, search_size=side)
    graphs = bundle.graphs("ort", precision, side)
    template = OnnxSession(bundle.path(graphs.template), threads=threads)

    def profile(options: onnxruntime.SessionOptions) -> None:
        options.enable_profiling = True
        options.profile_file_prefix = str(prefix)

    session = OnnxSession(bundle.path(graphs.search), threads=threads, configure=profile)
    given = {"crop": pair.search, **template.run({"crop": pair.template})}
    return partial(session.run, {name: given[name] for name in session.inputs})


def shares(profile: Path) -> dict[str, Any]:
    """Milliseconds of a run by group and operator; those of the head beside them."""
    nodes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in json.loads(profile.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["name"], event["args"]["op_name"]].append(event["dur"])
    count: Counter[str] = Counter()
    spent: dict[str, float] = defaultdict(float)
    groups: dict[str, float] = defaultdict(float)
    head = 0.0
    for (name, operator), times in nodes.items():
        ms = min(times) / 1e3
        spent[operator] += ms
        count[operator] += 1
        groups[next((g for g, names in GROUPS.items() if operator in names), "elementwise and the rest")] += ms
        head += ms if HEAD in name else 0
    total = sum(spent.values())
    return {
        "ms": round(total, 3),
        "groups": {name: {"ms": round(ms, 3), "share": round(ms / total, 4)} for name, ms in _falling(groups)},
        **({"head": {"ms": round(head, 3), "share": round(head / total, 4)}} if head > 0.005 * total else {}),
        "operators": {name: {"nodes": count[name], "ms": round(ms, 3)} for name, ms in _falling(spent)},
    }


def _falling(values: dict[str, float]) -> list[tuple[str, float]]:
    """Largest first."""
    return sorted(values.items(), key=lambda item: -item[1])


def main(
    model: Annotated[Path, typer.Option("--model", help="Folder of a bundle that holds the graphs.")],
    row: Annotated[list[str] | None, typer.Option("--row", help="precision:side; repeatable.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs of each graph.")] = 200,
    results: Annotated[Path, typer.Option("--results", help="Folder that the results are written to.")] = RESULTS,
) -> None:
    """Profile search graphs in ONNX Runtime."""
    bundle = open_bundle(model)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for number, name in enumerate(row or ROWS):
            precision, _, side = name.partition(":")
            if not side.isdigit():
                raise UserError(f"a row is precision:side, such as int8:192, not '{name}'.")
            made[name] = profiled(bundle, precision, int(side), threads, Path(folder) / f"{number}-")
        for _ in range(max(1, runs // BLOCK)):
            for search in made.values():
                for _ in range(BLOCK):
                    search()
        names = list(made)
        del search
        made.clear()  # ends the sessions, which write their profiles
        for number, name in enumerate(names):
            found[name] = shares(next(Path(folder).glob(f"{number}-*")))
    for name, one in found.items():
        groups = ", ".join(f"{group} {part['share']:.0%}" for group, part in one["groups"].items())
        head = f"; head {one['head']['share']:.0%}" if "head" in one else ""
        say(f"{name}: {one['ms']:.2f} ms: {groups}{head}")
    machine = describe()
    report = {
        "made_by": "benchmarks/ort_profile.py",
        "machine": machine,
        "checkpoint": bundle.manifest.checkpoint.sha256,
        "threads": threads,
        "runs": runs,
        "rows": found,
    }
    write_for_machine(results, "ort-profile", report)


if __name__ == "__main__":
    script(main)
