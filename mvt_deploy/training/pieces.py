"""Packs a folder into files of limited size and unpacks it: how training data and a run's state travel to a GPU."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import TrainingError
from ..files import draft_folder

SUFFIX = ".part"
_BUFFER = 1 << 20  # bytes per read and write


class _PieceWriter:
    """A stream that continues in a new file whenever one has reached the limit."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._left = 0
        self.paths: list[Path] = []

    def write(self, data: bytes) -> int:
        position = 0
        while position < len(data):
            if not self._left:
                self.paths.append(self._folder / f"{len(self.paths):03}{SUFFIX}")
                self._left = self._limit
            part = data[position : position + self._left]
            with self.paths[-1].open("ab") as file:
                file.write(part)
            position += len(part)
            self._left -= len(part)
        return len(data)


class _PieceReader:
    """The concatenation of files as one stream."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._rest = list(paths)
        self._offset = 0

    def read(self, size: int) -> bytes:
        while self._rest:
            with self._rest[0].open("rb") as file:
                file.seek(self._offset)
                data = file.read(size)
            self._offset += len(data)
            if data:
                return data
            del self._rest[0]
            self._offset = 0
        return b""


def pack(folder: Path, output: Path, megabytes: float = 60.0) -> list[Path]:
    """Pack a folder into pieces: a tar archive without compression, cut into files.

    Args:
        folder: What is packed.
        output: Folder of the pieces, ``000.part`` and so on; one that exists is replaced.
        megabytes: Largest size of a piece, in 10^6 bytes.

    Returns:
        The pieces in order.

    Raises:
        TrainingError: The folder does not exist, or the size is not positive.
    """
    if not folder.is_dir():
        raise TrainingError(f"the folder {folder} does not exist: there is nothing to pack.")
    if megabytes <= 0:
        raise TrainingError(f"pieces of {megabytes} MB are impossible: give a positive size.")
    with draft_folder(output) as draft:
        writer = _PieceWriter(draft, int(megabytes * 1e6))
        with tarfile.open(fileobj=writer, mode="w|", bufsize=_BUFFER) as archive:  # type: ignore[call-overload]
            archive.add(folder, arcname=".")
        names = [path.name for path in writer.paths]
    return [output / name for name in names]


def unpack(pieces: Path, folder: Path) -> None:
    """Unpack the pieces that :func:`pack` made.

    Args:
        pieces: Folder of the pieces.
        folder: Where to; a folder that exists is replaced.

    Raises:
        TrainingError: There are no pieces, or one is missing or damaged.
    """
    paths = sorted(pieces.glob(f"*{SUFFIX}"))
    if not paths or [path.stem for path in paths] != [f"{i:03}" for i in range(len(paths))]:
        raise TrainingError(f"{pieces} does not hold the pieces 000{SUFFIX}, 001{SUFFIX} … without a gap.")
    try:
        with (
            draft_folder(folder) as draft,
            tarfile.open(fileobj=_PieceReader(paths), mode="r|", bufsize=_BUFFER) as archive,  # type: ignore[call-overload]
        ):
            archive.extractall(draft, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise TrainingError(f"the pieces in {pieces} are damaged or incomplete ({error}): pack them again.") from error
