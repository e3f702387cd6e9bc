"""What is drawn on a frame: a box, a label and a colour per target, a line about the run, and a grid of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..geometry import BGRImage, Box
from ..tracker import Track

Colour = tuple[int, int, int]

# BGR; told apart by the colour-blind too (after Okabe and Ito), light enough for black text
PALETTE: tuple[Colour, ...] = (
    (80, 220, 80),
    (0, 159, 230),
    (233, 180, 86),
    (66, 228, 240),
    (167, 121, 204),
    (220, 220, 220),
)
LOST: Colour = (70, 70, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GREY: Colour = (235, 235, 235)
_BLACK: Colour = (0, 0, 0)
_YELLOW: Colour = (66, 228, 240)
_REFERENCE_SIDE = 720  # pixels of the shorter side at which sizes below are meant
_SMALLEST_TEXT = 0.35  # font scale, about eight pixels high: smaller text cannot be read
_LARGEST_PLATE = 0.03  # of the frame's area: a label that covers more is shortened, then left out
_GRID_SIDE, _GRID_LINES = 800, 16  # pixels of the longer side of a grid's picture at least; lines along it at most
_OUTLINED = 160  # pixels of the shorter side: on smaller frames a box has no dark outline


def draw(image: BGRImage, tracks: Sequence[Track], status: str = "") -> BGRImage:
    """Draw tracks onto a frame, in place.

    Labels scale with the frame, and are left out where they would cover more than 3 % of it.

    Args:
        image: BGR uint8 ``[H, W, 3]``; it is changed.
        tracks: One track per target; several targets get a colour and a number each. A lost target's box is dashed, in
            red.
        status: Text for the top left corner.

    Returns:
        The same image.
    """
    unit = min(image.shape[:2]) / _REFERENCE_SIDE
    if status:
        _draw_label(image, (status,), Box(0, 0, 0, 0), _GREY, unit)
    for number, track in enumerate(tracks):
        colour = LOST if track.state == "lost" else PALETTE[number % len(PALETTE)]
        _draw_box(image, track, colour, unit)
        name = f"{number + 1}  " if len(tracks) > 1 else ""
        texts = (f"{name}{track.state} {track.score:.2f}", f"{name}{track.score:.2f}", name.strip())
        _draw_label(image, texts, track.box, colour, unit)
    return image


def draw_grid(image: BGRImage) -> BGRImage:
    """A copy of a frame with lines at round numbers of pixels and their coordinates, to read boxes from.

    Args:
        image: BGR uint8 ``[H, W, 3]``.

    Returns:
        BGR uint8; a small frame is enlarged by a whole number, and the coordinates are still the frame's own.
    """
    height, width = image.shape[:2]
    zoom = max(1, math.ceil(_GRID_SIDE / max(height, width)))
    picture = np.asarray(cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST), np.uint8)
    step = next((s for s in (5, 10, 20, 50, 100, 200, 500) if max(height, width) / s <= _GRID_LINES), 1000)
    scale = max(0.45, 0.5 * min(height, width) * zoom / _REFERENCE_SIDE)
    for horizontal in (False, True):
        for at in range(0, height if horizontal else width, step):
            place, number = at * zoom, str(at)
            end = (width * zoom, place) if horizontal else (place, height * zoom)
            cv2.line(picture, (0, place) if horizontal else (place, 0), end, _BLACK, 3 if at % (5 * step) else 5)
            cv2.line(picture, (0, place) if horizontal else (place, 0), end, _GREY, 1)
            (_, text_height), _ = cv2.getTextSize(number, _FONT, scale, 1)
            origin = (4, place + text_height + 4) if horizontal else (place + 4, text_height + 4)
            for thickness, colour in ((4, _BLACK), (1, _YELLOW)) if at else ():
                cv2.putText(picture, number, origin, _FONT, scale, colour, thickness, cv2.LINE_AA)
    return picture


def _draw_box(image: BGRImage, track: Track, colour: Colour, unit: float) -> None:
    x, y, w, h = track.box.rounded
    inner = max(2, round(3 * unit))
    edge = max(1, round(unit)) if min(image.shape[:2]) >= _OUTLINED else 0
    for thickness, shade in ((inner + 2 * edge, _BLACK), (inner, colour)) if edge else ((inner, colour),):
        if track.state == "lost":
            _draw_dashed(image, (x, y, x + w, y + h), shade, thickness, max(4, round(14 * unit)))
        else:
            cv2.rectangle(image, (x, y), (x + w, y + h), shade, thickness)


def _draw_dashed(
    image: BGRImage, corners: tuple[int, int, int, int], colour: Colour, thickness: int, dash: int
) -> None:
    x1, y1, x2, y2 = corners
    for x in range(x1, x2, 2 * dash):
        for y in (y1, y2):
            cv2.line(image, (x, y), (min(x + dash, x2), y), colour, thickness)
    for y in range(y1, y2, 2 * dash):
        for x in (x1, x2):
            cv2.line(image, (x, y), (x, min(y + dash, y2)), colour, thickness)


def _draw_label(image: BGRImage, texts: Sequence[str], box: Box, colour: Colour, unit: float) -> None:
    """The first text whose plate is small enough, black on the colour: above the box, else below it, else inside."""
    height, width = image.shape[:2]
    scale, thickness, pad = max(_SMALLEST_TEXT, 0.75 * unit), max(1, round(1.6 * unit)), max(1, round(6 * unit))
    for text in texts:
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
        plate_width, plate_height = text_width + 2 * pad, text_height + baseline + pad
        if text and plate_width * plate_height <= _LARGEST_PLATE * height * width and plate_width <= width:
            break
    else:
        return
    top, bottom = round(box.y), round(box.y + box.h)
    y = top - plate_height if top >= plate_height else bottom if 0 < bottom <= height - plate_height else top
    x = min(max(0, round(box.x)), width - plate_width)
    y = min(max(0, y), max(0, height - plate_height))
    cv2.rectangle(image, (x, y), (x + plate_width, y + plate_height), colour, cv2.FILLED)
    origin = (x + pad, y + plate_height - baseline - pad // 2)
    cv2.putText(image, text, origin, _FONT, scale, _BLACK, thickness, cv2.LINE_AA)
