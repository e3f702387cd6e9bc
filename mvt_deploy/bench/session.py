"""One run of ``bench``: which rows are measured, on which clip, and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..backends.registry import load
from ..bundle import Bundle, SearchSize, open_bundle
from ..errors import BackendError, BundleError, MissingExtra, UserError
from ..progress import SILENT, Progress
from . import clip as clips
from .candidates import Candidate, parse
from .machine import describe
from .measure import Row, measure, our_row, peer_row, published_row
from .peers import peer
from .published import cached_graph
from .report import BenchReport, build

LONGEST = 3600
"""Most seconds that a row may take: the times of every frame are kept for the percentiles."""

_UNAVAILABLE = (BackendError, BundleError, MissingExtra)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What to measure beside the published graph.

    Attributes:
        model: Folder of the bundle.
        backend: Backend of the only candidate, where ``compare`` is empty; the next options up to ``device`` are its
            too.
        provider: Execution provider of ONNX Runtime; ``auto`` chooses.
        precision: Arithmetic; None for the backend's default.
        device: Device of PyTorch.
        search_size: Side of the search crop in pixels; ``"auto"`` for a side chosen per target and frame; None for the
            bundle's default.
        threads: CPU threads of candidates that name none; None for the runtime's choice.
        batch: Number of targets of candidates that name none.
        compare: Candidates as text, see :func:`~mvt_deploy.bench.candidates.parse`; commas separate several.
        peers: Trackers of OpenCV, see :func:`~mvt_deploy.bench.peers.peer`.
        source: Video or folder to measure on; None for a shipped photograph.
        init_box: The target's box ``x,y,w,h`` in pixels of the source's first frame; None to choose one.
        seconds: Minimum measuring time per row, in seconds.
    """

    model: Path
    backend: str = "ort"
    provider: str = "cpu"
    precision: str | None = None
    device: str = "cpu"
    search_size: SearchSize = None
    threads: int | None = None
    batch: int = 1
    compare: Sequence[str] = field(default=())
    peers: Sequence[str] = field(default=())
    source: str | None = None
    init_box: str | None = None
    seconds: float = 3.0


def run(settings: BenchSettings, progress: Progress = SILENT) -> tuple[BenchReport, list[Row]]:
    """Measure, and build the report.

    Of several candidates, one that cannot run here does not end the run: the report says why it was not measured.

    Args:
        settings: What to measure.
        progress: Told what is being done.

    Returns:
        The report, and the rows with the times of every frame.

    Raises:
        UserError: A setting is wrong, the source or the bundle cannot be read, or no candidate can run here.
    """
    if settings.init_box and not settings.source:
        raise UserError("--init-box is a box in a source's first frame: name the video or folder too, or leave it out.")
    if not 0 < settings.seconds <= LONGEST:
        raise UserError(f"--seconds is {settings.seconds:g}: give at most {LONGEST} for each row.")
    bundle = open_bundle(settings.model)
    texts = [part.strip() for text in settings.compare for part in text.split(",")]
    candidates = [parse(text, settings.threads, settings.batch) for text in texts]
    candidates = candidates or [_only_candidate(settings, bundle, progress)]
    _require_one_torch(candidates)
    for text in settings.peers:  # a misspelt name is refused before anything is measured
        _tried(partial(peer, text), text, {})
    clip = clips.recorded(settings.source, settings.init_box) if settings.source else clips.photograph()
    unavailable: dict[str, str] = {}
    ours = [_tried(partial(our_row, c, bundle, clip), c.name, unavailable) for c in candidates]
    if not any(ours):
        reasons = list(unavailable.values())
        raise UserError(reasons[0] if len(reasons) == 1 else f"no candidate can run here: {_listed(unavailable)}")
    peers = [_tried(partial(_peer, text, clip), f"opencv {text}", unavailable) for text in settings.peers]
    rows = [*_baseline(bundle, clip, progress), *(row for row in (*ours, *peers) if row)]
    measure(rows, clip, settings.seconds, progress=progress)
    return build(describe(), rows, clip, unavailable, progress), rows


def _tried(make: Callable[[], T], name: str, unavailable: dict[str, str]) -> T | None:
    """What was made; None, with the reason noted, where this machine or this bundle does not allow it."""
    try:
        return make()
    except _UNAVAILABLE as error:
        unavailable[name] = str(error)
        return None


def _peer(text: str, clip: clips.BenchClip) -> Row:
    return peer_row(*peer(text), clip)


def _listed(unavailable: dict[str, str]) -> str:
    return " ".join(f"{name}: {reason}" for name, reason in unavailable.items())


def _only_candidate(settings: BenchSettings, bundle: Bundle, progress: Progress) -> Candidate:
    """The candidate that the options describe, where none is named."""
    backend, provider, precision = settings.backend, settings.provider, settings.precision
    if provider == "auto":
        size = settings.search_size
        with load(settings.model, backend, provider="auto", precision=precision, search_size=size) as fastest:
            backend, provider, precision = fastest.name, fastest.provider, fastest.precision
        progress.message(f"fastest here: {backend} {provider} {precision}")
    if settings.device != "cpu" and backend != "torch":
        raise UserError(f"--device belongs to the torch backend: leave it out with --backend {backend}.")
    if settings.provider != "cpu" and backend != "ort":
        raise UserError(f"--provider belongs to the ort backend: leave it out with --backend {backend}.")
    if settings.device != "cpu":
        provider = settings.device
    if backend == "trt":
        from ..backends.tensorrt.store import default_precision

        provider, precision = "tensorrt", precision or default_precision(bundle)
    return Candidate(backend, provider, precision or "fp32", settings.threads, settings.batch, settings.search_size)


def _baseline(bundle: Bundle, clip: clips.BenchClip, progress: Progress) -> list[Row]:
    try:
        return [published_row(cached_graph(bundle), clip)]
    except MissingExtra as error:
        progress.message(f"the row 'published' is left out, and ratios are to the first row: {error}")
        return []


def _require_one_torch(candidates: list[Candidate]) -> None:
    """PyTorch's threads belong to the process: candidates that differ in them cannot take turns."""
    if len({c.threads for c in candidates if c.backend == "torch"}) > 1:
        raise UserError(
            "PyTorch has one number of threads for a whole run: measure the torch candidates one at a time."
        )
