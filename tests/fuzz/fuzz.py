"""Run the fuzz targets for many random cases and write down what was run: ``python tests/fuzz/fuzz.py --cases 120000``.

A case that fails is shrunk and printed by hypothesis, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import bundle_targets  # noqa: F401  (registers its targets)
import data_targets  # noqa: F401
import hypothesis
import onnx
import onnxruntime
import torch
from hostile import BATCH, TARGETS
from hypothesis import HealthCheck, given, settings

from mvt_deploy.version import __version__

SHARES = {
    "onnx_outline": 0.25,
    "frames_and_boxes": 0.2,
    "ground_truth": 0.14,
    "checkpoint": 0.13,
    "manifest": 0.08,
    "data_set": 0.06,
    "results": 0.04,
    "video": 0.03,
    "training_data": 0.02,
    "engine_sidecar": 0.015,
    "image": 0.015,
    "graph_loading": 0.012,
    "training_run": 0.005,
    "calibration": 0.003,
}
"""Part of the cases of each target: the faster its reader, the more."""
MEMORY = 4 << 30
"""Bytes of address space a case may add: a reader that believes a size in a file dies of it here."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=120_000, help="in all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; repeat it for several")
    parser.add_argument("-o", "--output", type=Path, help="write a JSON report")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
    rows: list[dict[str, Any]] = []
    for name in names:
        rows.append(_run(name, max(1, round(arguments.cases * SHARES[name])), arguments.seed))
        report = json.dumps(_report(rows, arguments.seed), indent=1)
        if arguments.output:  # after every target: a long run that is stopped leaves what it did
            arguments.output.write_text(report + "\n", encoding="utf-8")
    print(report)
    return 1 if any(row["failure"] for row in rows) else 0


def _report(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "cases": sum(row["cases"] for row in rows),
        "failures": sum(row["failure"] is not None for row in rows),
        "seed": seed,
        "targets": rows,
        "versions": {
            "mvt-deploy": __version__,
            "python": platform.python_version(),
            **{m.__name__: m.__version__ for m in (hypothesis, onnx, onnxruntime, torch)},
        },
    }


def _run(name: str, cases: int, seed: int) -> dict[str, Any]:
    target = TARGETS[name]
    began, count, failure = time.perf_counter(), 0, None

    def counted(source: object) -> None:
        nonlocal count
        count += target.run(source)

    for attempt in range(cases):  # hypothesis may stop early, and draws batches or single inputs as it likes
        run = settings(
            max_examples=max(1, (cases - count) // BATCH),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )(hypothesis.seed(seed * 1000 + attempt)(given(target.strategy)(counted)))
        try:
            run()
        except Exception as error:
            traceback.print_exc(limit=-8)
            failure = f"{type(error).__name__}: {error}"
        if failure or count >= cases:
            break
    print(f"{name}: {count} cases, {'failed' if failure else 'no failure'}", file=sys.stderr)
    return {
        "target": name,
        "what": target.what,
        "cases": count,
        "seconds": round(time.perf_counter() - began, 1),
        "failure": failure,
    }


if __name__ == "__main__":
    sys.exit(main())
