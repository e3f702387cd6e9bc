"""Finds the tracks, GOT-10k sequences and photographs in a folder of training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from ..errors import TrainingError
from .got10k import is_sequence, read_sequence
from .photographs import BOXES, Photograph, read_boxes
from .tracks import INDEX, AnnotatedTrack, read_tracks


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run is trained and validated on.

    Attributes:
        tracks: Tracks to train on.
        photographs: Photographs to train on.
        held_back: Tracks to validate on, which are not among ``tracks``.
    """

    tracks: tuple[AnnotatedTrack, ...] = ()
    photographs: tuple[Photograph, ...] = ()
    held_back: tuple[AnnotatedTrack, ...] = ()


@dataclass(slots=True)
class _Found:
    tracks: list[AnnotatedTrack] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    boxes: dict[Path, tuple[tuple[float, float, float, float], ...]] = field(default_factory=dict)


def discover(folder: Path, hold_out: Sequence[str] = ()) -> TrainingData:
    """Find everything to train on in a folder.

    Args:
        folder: Holds, at any depth, folders with ``tracks.json``, sequences in GOT-10k's layout, and photographs: JPEG
            files, each with a label mask in a PNG file of the same name, or with boxes in ``boxes.json``, or neither.
        hold_out: Patterns (fnmatch) of the names of tracks to validate on.

    Raises:
        TrainingError: There is nothing to train on, or something is damaged.
    """
    if not folder.is_dir():
        raise TrainingError(f"the folder of training data {folder} does not exist: give --data an existing folder.")
    found = _Found()
    _visit(folder, found)
    held = [track for track in found.tracks if any(fnmatch(track.name, pattern) for pattern in hold_out)]
    tracks = [track for track in found.tracks if track not in held]
    photographs = [_photograph(picture, found) for picture in found.pictures]
    if not tracks and not photographs:
        raise TrainingError(
            f"{folder} holds nothing to train on: it needs GOT-10k sequences, tracks (tracks.json) or JPEG photographs."
        )
    return TrainingData(tuple(tracks), tuple(photographs), tuple(held))


def _visit(folder: Path, found: _Found) -> None:
    if (folder / INDEX).is_file():
        found.tracks.extend(read_tracks(folder))
    elif is_sequence(folder):
        track = read_sequence(folder)
        if track.frames:
            found.tracks.append(track)
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
