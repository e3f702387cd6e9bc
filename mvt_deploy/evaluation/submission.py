"""Result archives in the form that the benchmarks' servers take."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from ..files import write_whole
from .results import ResultsFolder, table
from .sequence import Dataset

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same results make the same bytes


def write_submission(dataset: Dataset, folder: ResultsFolder) -> Path | None:
    """Write the archive to upload, if the benchmark has a server.

    GOT-10k: ``<sequence>/<sequence>_001.txt`` with boxes and ``<sequence>_time.txt`` with seconds, as its toolkit packs
    them (one repetition, which it allows for a deterministic tracker). TrackingNet: ``<sequence>.txt`` with boxes.

    Returns:
        The zip's path, or None if the benchmark is scored here.

    Raises:
        ResultError: A sequence has no result.
        OSError: The archive cannot be written.
    """
    files: dict[str, str] = {}
    for sequence in dataset.sequences:
        name = sequence.name
        if dataset.format == "got10k":
            result = folder.read(sequence)
            files[f"{name}/{name}_001.txt"] = table(result.boxes, "%.3f")
            files[f"{name}/{name}_time.txt"] = table(result.seconds, "%.8f")
        elif dataset.format == "trackingnet":
            files[f"{name}.txt"] = table(folder.read(sequence).boxes, "%.3f")
    if not files:
        return None
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    path = folder.path / f"submission-{dataset.format}.zip"
    write_whole(path, stream.getvalue())
    return path
