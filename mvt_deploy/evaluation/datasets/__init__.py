"""Datasets by format; each module knows the folders, names and quirks of one benchmark."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import SourceError
from ..sequence import Dataset, DatasetError
from . import davis, folder, got10k, lasot, nfs, otb, trackingnet, uav123, vot
from .files import Reader, found_in

FORMATS: dict[str, Reader] = {
    reader.format: reader
    for reader in (
        got10k.READER,
        lasot.READER,
        otb.READER,
        nfs.READER,
        uav123.READER,
        trackingnet.READER,
        davis.READER,
        vot.READER,
        folder.READER,
    )
}
"""Readers by the name ``--format`` takes, in the order in which ``auto`` tries them."""


def open_dataset(root: str | os.PathLike[str], format: str = "auto", split: str | None = None) -> Dataset:
    """Read a dataset's lists and annotations (frames stay on disk).

    Args:
        root: The benchmark's folder, as it is unpacked.
        format: A key of :data:`FORMATS`, or ``auto`` to recognise the format by its layout.
        split: A part of the benchmark by its own name (such as ``val``); None takes the part that papers report.

    Raises:
        DatasetError: There is no such folder, format or split; the layout is not the benchmark's; a file is damaged.
    """
    try:
        return _open(Path(root), format, split)
    except SourceError as error:  # the reader of annotation files serves recordings outside datasets too
        raise DatasetError(str(error)) from error


def _open(root: Path, format: str, split: str | None) -> Dataset:
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}: give the folder the dataset was unpacked to.")
    if format == "auto":
        reader = next((r for r in FORMATS.values() if r.matches(root)), None)
        if reader is None:
            layouts = "".join(f"\n  {r.format:<12}{r.expected}" for r in FORMATS.values())
            raise DatasetError(
                f"{root} has the layout of no known benchmark. Found: {found_in(root)}. Expected one of:{layouts}"
            )
    elif format in FORMATS:
        reader = FORMATS[format]
        if not reader.matches(root):
            raise DatasetError(
                f"{root} is not laid out as {reader.title}. Expected: {reader.expected}. Found: {found_in(root)}."
            )
    else:
        raise DatasetError(f"there is no dataset format '{format}': choose auto or one of {', '.join(FORMATS)}.")
    dataset = reader.load(root, split)
    if not dataset.sequences:
        raise DatasetError(f"{root} holds no sequence of {dataset.name}. Expected: {reader.expected}.")
    return dataset
