"""Which targets to follow: given, drawn, from a ground-truth file, or, where asked for, what moves most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from .. import groundtruth
from ..errors import BoxError, SinkError, SourceError
from ..files import write_whole
from ..geometry import Box, format_box, require_overlap, require_pixels
from .appearance import fit_to_appearance
from .motion import prominent_mover, shrink
from .overlay import draw_grid
from .sources import Frame, Source
from .window import display_works, require_boxes, require_display, select_boxes

LOOK_SECONDS = 1.0
"""How much of a source is watched for a moving object."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What to follow.

    Args:
        boxes: One box per target in the first frame, in pixels.
        how: How the boxes were found, for the user.
        start: The frame they were found in, where the source cannot give it again; otherwise None.
        truth: Boxes of a ground-truth file, float64 ``[n, 4]``, or None.
    """

    boxes: list[Box]
    how: str
    start: Frame | None = None
    truth: npt.NDArray[np.float64] | None = None


def choose_targets(source: Source, given: Sequence[str] = (), select: bool = False, auto: bool = False) -> Targets:
    """The targets of a source: those given, else drawn ones, else a ground-truth file's, else what moves.

    The search for what moves finds something, but often not the whole object (benchmarks/results/auto-target.json), so
    it is used only where it is asked for.

    Args:
        source: An opened source.
        given: One text ``x,y,w,h`` per target, in pixels of the first frame.
        select: Let the user draw the targets with the mouse.
        auto: Where nothing else says what to follow, take the most prominent moving object of the first second.

    Raises:
        BoxError: A box is not four numbers, has no size, is in fractions or lies outside the first frame; nothing says
            what to follow, or nothing moves.
        SinkError: There is no screen to draw on.
        SourceError: The source or its ground truth cannot be read.
    """
    boxes = [groundtruth.parse_box(text) for text in given]
    if select:
        require_display("--select")
    frame = source.first()
    start = frame if source.live else None
    path = groundtruth.find(source.place)
    truth = _read_truth(path, needed=not (boxes or select)) if path else None
    height, width = frame.image.shape[:2]
    if boxes:
        how = "given"
    elif select or (source.live and not auto and display_works()):
        boxes, how = require_boxes(select_boxes(frame.image)), "drawn"
    elif truth is not None and path is not None:
        boxes, how = [_first_box(truth, path)], f"from {path.name}"
    elif not auto:
        source.close()
        raise BoxError(
            f"nothing says what to follow in '{source.title}': give --init-box x,y,w,h (--show-grid writes a picture "
            "to read it from), draw it with --select, or take what moves most with --auto."
        )
    else:
        box, start = _mover(source, frame)
        boxes = [box]
        how = (
            f"the most prominent moving object of the first second, {format_box(box)}; "
            "to follow another: --init-box x,y,w,h or --select"
        )
    for box in boxes:
        require_overlap(require_pixels(box), width, height)
    if truth is not None and (len(boxes) > 1 or not _same(boxes[0], truth[0])):
        truth = None  # it speaks of another target
    return Targets(boxes, how, start, truth)


def write_grid(source: Source, path: Path) -> Path:
    """Write the first frame of a source with a grid of pixels, to read boxes from.

    Args:
        source: An opened source; it is closed.
        path: The image file to write.

    Returns:
        The same path.

    Raises:
        SinkError: The file cannot be written.
    """
    image = draw_grid(source.first().image)
    source.close()
    _, data = cv2.imencode(path.suffix, image)
    try:
        write_whole(path, data.tobytes())
    except OSError as error:
        raise SinkError(f"cannot write '{path}': {error.strerror or error}; choose another place.") from error
    return path


def _read_truth(path: Path, needed: bool) -> npt.NDArray[np.float64] | None:
    """The ground truth; a file that only happens to have its name does no harm where the targets are known."""
    try:
        return groundtruth.read(path)
    except SourceError:
        if needed:
            raise
        return None


def _first_box(truth: npt.NDArray[np.float64], path: Path) -> Box:
    if np.isnan(truth[0]).any():
        raise BoxError(f"the target is absent in the first line of '{path}': say where it is with --init-box x,y,w,h.")
    return Box.of(truth[0])


def _same(box: Box, truth: npt.NDArray[np.float64]) -> bool:
    return bool(np.allclose(box, truth, atol=1.0))


def _mover(source: Source, first: Frame) -> tuple[Box, Frame | None]:
    """The most prominent moving object and, for a live source, the frame it is in: the latest, since time went on."""
    watched = [first]
    for frame in source:
        if frame.index > first.index or source.live:
            watched.append(frame)
        if frame.time - first.time >= LOOK_SECONDS:
            break
    height, width = first.image.shape[:2]
    same_size = [f for f in watched if f.image.shape == first.image.shape]
    ordered = same_size[::-1] if source.live else same_size
    mover = prominent_mover([shrink(frame.image) for frame in ordered], width, height)
    if mover is None:
        raise BoxError(
            f"nothing moves by itself in the first second of '{source.title}': "
            "say what to follow with --init-box x,y,w,h, or draw it with --select."
        )
    return fit_to_appearance(ordered[0].image, mover.box), ordered[0] if source.live else None
