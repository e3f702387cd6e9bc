"""What a folder of training data holds: tracks, GOT-10k sequences and photographs, in any arrangement of folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from ..errors import TrainingError
from .clips import Clip
from .got10k import is_sequence, read_sequence
from .photographs import BOXES, Photograph, read_boxes
from .tracks import INDEX, read_tracks


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Clips and photographs to train on, and clips held back for validation."""

    clips: tuple[Clip, ...] = ()
    photographs: tuple[Photograph, ...] = ()
    held_back: tuple[Clip, ...] = ()


@dataclass(slots=True)
class _Found:
    clips: list[Clip] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    boxes: dict[Path, tuple[tuple[float, float, float, float], ...]] = field(default_factory=dict)


def discover(folder: Path, hold_out: Sequence[str] = ()) -> TrainingData:
    """Everything under a folder. JPEG files are photographs, a PNG file of the same name is its label mask.

    Args:
        folder: holds, at any depth, folders with ``tracks.json``, GOT-10k sequences and photographs (``boxes.json``).
        hold_out: patterns of clip names for validation.

    Raises:
        TrainingError: nothing to train on, or something damaged.
    """
    if not folder.is_dir():
        raise TrainingError(f"the folder of training data {folder} does not exist: give --data an existing folder.")
    found = _Found()
    _visit(folder, found)
    held = [clip for clip in found.clips if any(fnmatch(clip.name, pattern) for pattern in hold_out)]
    clips = [clip for clip in found.clips if clip not in held]
    photographs = [_photograph(picture, found) for picture in found.pictures]
    if not clips and not photographs:
        raise TrainingError(
            f"{folder} holds nothing to train on: it needs GOT-10k sequences, tracks (tracks.json) or JPEG photographs."
        )
    return TrainingData(tuple(clips), tuple(photographs), tuple(held))


def _visit(folder: Path, found: _Found) -> None:
    if (folder / INDEX).is_file():
        found.clips.extend(read_tracks(folder))
    elif is_sequence(folder):
        clip = read_sequence(folder)
        if clip.moments:
            found.clips.append(clip)
    else:
        if (folder / BOXES).is_file():
            found.boxes.update(read_boxes(folder / BOXES))
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                _visit(entry, found)
            elif entry.suffix.lower() in {".jpg", ".jpeg"}:
                found.pictures.append(entry)


def _photograph(picture: Path, found: _Found) -> Photograph:
    mask = picture.with_suffix(".png")
    return Photograph(picture, mask if mask.is_file() else None, found.boxes.get(picture, ()))
