"""Reads "tracks": ``tracks.json``, track to list of ``[file, x, y, w, h]``, beside frames cut around their targets."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..errors import TrainingError
from .clips import Clip, Moment

INDEX = "tracks.json"


def read_tracks(folder: Path) -> list[Clip]:
    """The tracks of a folder, by name. A frame's number is the one its file is named by, where it is.

    Raises:
        TrainingError: ``tracks.json`` cannot be read, or names a file that is not there.
    """
    path = folder / INDEX
    try:
        rows: dict[str, list[list[float | str]]] = json.loads(path.read_text(encoding="utf-8"))
        clips = [
            Clip(name, tuple(_moment(folder, i, row) for i, row in enumerate(track)), recentred=True)
            for name, track in sorted(rows.items())
            if track
        ]
    except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise TrainingError(
            f"{path} cannot be read as tracks ({error}): track -> list of [file, x, y, w, h]."
        ) from error
    for clip in clips:
        for moment in clip.moments:
            if not moment.file.is_file():
                raise TrainingError(f"{path} names {moment.file}, which is not there: unpack the data again.")
    return clips


def _moment(folder: Path, index: int, row: list[float | str]) -> Moment:
    file = folder / str(row[0])
    digits = re.search(r"\d+$", file.stem)
    x, y, w, h = (float(value) for value in row[1:])
    return Moment(file, int(digits.group()) if digits else index, (x, y, w, h))
