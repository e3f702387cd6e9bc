"""Files and folders that are whole or not there: every output of the package is written through this module."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    When the block raises, the temporary file is removed and an earlier file at ``path`` stays as it was. The parent
    folder is created. The name keeps the suffix, which some writers read the format from.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes | bytearray | memoryview) -> None:
    """Write a file so that readers see the earlier content or all of the new content; text is written as UTF-8.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    with draft(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        OSError: The place cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        os.chmod(temporary, 0o755)  # mkdtemp gives 0700
        yield temporary
        replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Move a folder into the place of another one; the earlier folder comes back if that fails.

    Args:
        new: Folder that takes the place; it lies in the same parent folder as ``folder``.
        folder: The place; it may be empty, hold an earlier folder, or not exist.

    Raises:
        OSError: It could not be done.
    """
    if not folder.exists():
        os.replace(new, folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-old-"))
    os.replace(folder, old / "old")
    try:
        os.replace(new, folder)
    except OSError:
        os.replace(old / "old", folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def inside(folder: Path, path: Path) -> bool:
    """Whether a path leads to something in a folder after all symbolic links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
