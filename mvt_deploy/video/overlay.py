"""What is drawn on a frame: a box, a label and a colour for each target, and a line about the run."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from ..geometry import BGRImage
from ..tracker import Track

Colour = tuple[int, int, int]

PALETTE: tuple[
    Colour, ...
] = (  # BGR; told apart by the colour-blind too (after Okabe and Ito), light enough for black text
    (80, 220, 80),
    (0, 159, 230),
    (233, 180, 86),
    (66, 228, 240),
    (167, 121, 204),
    (220, 220, 220),
)
LOST: Colour = (70, 70, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(image: BGRImage, tracks: Sequence[Track], status: str = "") -> BGRImage:
    """Draw tracks onto a frame, in place.

    Args:
        image: BGR uint8 ``[H, W, 3]``; it is changed.
        tracks: one a target; with several, each gets its colour and number. A lost target's box is dashed, in red.
        status: a line for the top left corner.

    Returns:
        The same image.
    """
    unit = max(0.4, min(image.shape[:2]) / 720)
    for number, track in enumerate(tracks):
        colour = LOST if track.state == "lost" else PALETTE[number % len(PALETTE)]
        _draw_box(image, track, colour, unit)
        name = f"{number + 1}  " if len(tracks) > 1 else ""
        _label(image, f"{name}{track.state} {track.score:.2f}", (track.box.x, track.box.y), colour, unit)
    if status:
        _label(image, status, (0, 0), (235, 235, 235), unit, inside=True)
    return image


def _draw_box(image: BGRImage, track: Track, colour: Colour, unit: float) -> None:
    x1, y1 = round(track.box.x), round(track.box.y)
    x2, y2 = round(track.box.x + track.box.w), round(track.box.y + track.box.h)
    for thickness, shade in ((max(3, round(5 * unit)), (0, 0, 0)), (max(1, round(3 * unit)), colour)):
        if track.state == "lost":
            _dashed(image, (x1, y1, x2, y2), shade, thickness, max(6, round(14 * unit)))
        else:
            cv2.rectangle(image, (x1, y1), (x2, y2), shade, thickness)


def _dashed(image: BGRImage, corners: tuple[int, int, int, int], colour: Colour, thickness: int, dash: int) -> None:
    x1, y1, x2, y2 = corners
    for x in range(x1, x2, 2 * dash):
        for y in (y1, y2):
            cv2.line(image, (x, y), (min(x + dash, x2), y), colour, thickness)
    for y in range(y1, y2, 2 * dash):
        for x in (x1, x2):
            cv2.line(image, (x, y), (x, min(y + dash, y2)), colour, thickness)


def _label(
    image: BGRImage, text: str, corner: tuple[float, float], colour: Colour, unit: float, inside: bool = False
) -> None:
    """Black text on a plate above the corner (below it if there is no room, or if it is to be inside)."""
    height, width = image.shape[:2]
    scale, thickness, pad = 0.75 * unit, max(1, round(1.6 * unit)), max(2, round(6 * unit))
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    plate_width, plate_height = text_width + 2 * pad, text_height + baseline + pad
    x = min(max(0, round(corner[0])), max(0, width - plate_width))
    y = round(corner[1]) if inside or corner[1] < plate_height else round(corner[1]) - plate_height
    y = min(max(0, y), max(0, height - plate_height))
    cv2.rectangle(image, (x, y), (x + plate_width, y + plate_height), colour, cv2.FILLED)
    origin = (x + pad, y + plate_height - baseline - pad // 2)
    cv2.putText(image, text, origin, _FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)
