"""What it takes to get the first box: seconds and memory of a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from .candidates import Candidate

_PEAK = """
import json, sys
def peak():
    # not getrusage: what a process inherits over fork and exec counts there as its own
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
import numpy as np
frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
"""
_TRACK = """
import mvt_deploy as mvt
folder, backend, options = json.loads(sys.argv[1])
tracker = mvt.Tracker(mvt.load(folder, backend, **options), lost=None)
tracker.init(frame, (500, 300, 120, 90))
tracker.update(frame)
print(json.dumps(peak()), flush=True)
"""
_PUBLISHED = """
from pathlib import Path
from mvt_deploy.bench.published import Published
from mvt_deploy.geometry import Box
tracker = Published(Path(json.loads(sys.argv[1])))
tracker.init(frame, Box(500, 300, 120, 90))
tracker.place(tracker.locate(tracker.cut(frame)), 1280, 720)
print(json.dumps(peak()), flush=True)
"""


def candidate_start(candidate: Candidate, bundle: Bundle) -> dict[str, float]:
    """``first_box_s``: seconds from starting the interpreter to the first box of one target; ``peak_memory_mb``: the
    process's largest resident memory in MB, where the system tells. Empty if the process failed.
    """
    return _run(_PEAK + _TRACK, (str(bundle.folder), candidate.backend, candidate.options))


def published_start(graph: Path) -> dict[str, float]:
    """The same for the baseline."""
    return _run(_PEAK + _PUBLISHED, str(graph))


def _run(script: str, argument: Any) -> dict[str, float]:
    command = [sys.executable, "-c", script, json.dumps(argument)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()  # written at the first box, before anything is torn down
        seconds = time.perf_counter() - began
    if process.returncode or not line:
        return {}
    peak = json.loads(line)
    return {"first_box_s": seconds, **({"peak_memory_mb": peak} if peak else {})}
