"""One run of ``bench``: which rows, on which clip, and the report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from ..backends.registry import load
from ..bundle import Bundle, open_bundle
from ..errors import MissingExtra, UserError
from . import clip as clips
from .candidates import Candidate, parse
from .machine import describe
from .measure import Row, measure, our_row, peer_row, published_row
from .peers import peer
from .published import cached_graph
from .report import Report, build

Say = Callable[[str], None]

LONGEST = 3600
"""Seconds a row may take at most: every frame's times are kept for the percentiles."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure beside the published graph: one backend, or ``compare`` candidates; and OpenCV ``peers``.

    ``threads`` and ``batch`` hold for candidates that name none; ``init_box`` is ``x,y,w,h`` in the first frame;
    ``device`` is PyTorch's.
    """

    model: Path
    backend: str
    provider: str
    precision: str | None
    threads: int | None
    batch: int
    compare: list[str]
    peers: list[str]
    source: str | None
    init_box: str | None
    seconds: float
    device: str = "cpu"


def run(settings: Settings, say: Say) -> tuple[Report, list[Row]]:
    """Measure, and build the report.

    Raises:
        UserError: a candidate, peer, source or bundle is wrong or not available here.
    """
    if settings.init_box and not settings.source:
        raise UserError("--init-box is a box in a source's first frame: name the video or folder too, or leave it out.")
    if not 0 < settings.seconds <= LONGEST:
        raise UserError(f"--seconds is {settings.seconds:g}: at most {LONGEST} for each row.")
    bundle = open_bundle(settings.model)
    texts = [part.strip() for text in settings.compare for part in text.split(",")]
    candidates = [parse(text, settings.threads, settings.batch) for text in texts] or [_single(settings, say)]
    _require_one_torch(candidates)
    peers = [peer(text) for text in settings.peers]
    clip = clips.recorded(settings.source, settings.init_box) if settings.source else clips.photograph()
    rows = [*_baseline(bundle, clip, say), *(our_row(candidate, bundle, clip) for candidate in candidates)]
    rows += [peer_row(name, make, clip) for name, make in peers]
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("measuring", total=1.0)
        measure(rows, clip, settings.seconds, tick=lambda share: progress.update(task, completed=share))
    return build(describe(), rows, clip), rows


def _single(settings: Settings, say: Say) -> Candidate:
    provider, precision, backend = settings.provider, settings.precision, settings.backend
    if provider == "auto":
        backend, provider, precision = load(settings.model, provider="auto", precision=precision).label.split()
        say(f"fastest here: {backend} {provider} {precision}")
    if settings.device != "cpu" and backend != "torch":
        raise UserError(f"--device belongs to the torch backend: leave it out with --backend {backend}.")
    if settings.device != "cpu":
        provider = settings.device
    if backend == "trt":
        from ..backends.tensorrt.store import default_precision

        provider, precision = "tensorrt", precision or default_precision(open_bundle(settings.model))
    return Candidate(backend, provider, precision or "fp32", settings.threads, settings.batch)


def _baseline(bundle: Bundle, clip: clips.Clip, say: Say) -> list[Row]:
    try:
        return [published_row(cached_graph(bundle), clip)]
    except MissingExtra as error:
        say(f"the row 'published' is left out, ratios are to the first row: {error}")
        return []


def _require_one_torch(candidates: list[Candidate]) -> None:
    """PyTorch's threads are the process's: candidates that differ in them cannot take turns."""
    if len({c.threads for c in candidates if c.backend == "torch"}) > 1:
        raise UserError(
            "PyTorch has one number of threads for a whole run: measure the torch candidates one at a time."
        )
