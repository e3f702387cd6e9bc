"""Pieces: a folder comes back as it was, no piece is too large, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mvt_deploy.errors import TrainingError
from mvt_deploy.training.pieces import pack, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "folder"
    (place / "deep" / "er").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (("a.bin", 250_000), ("deep/b.bin", 99_999), ("deep/er/empty", 0)):
        (place / name).write_bytes(rng.bytes(size))
    return place


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("megabytes", [0.1, 0.07, 60.0])
def test_a_folder_comes_back(folder: Path, tmp_path: Path, megabytes: float) -> None:
    pieces = pack(folder, tmp_path / "pieces", megabytes)
    sizes = [piece.stat().st_size for piece in pieces]
    assert max(sizes) <= megabytes * 1e6
    assert sum(sizes) >= 349_999
    assert len(pieces) == -(-sum(sizes) // int(megabytes * 1e6))
    unpack(tmp_path / "pieces", tmp_path / "again")
    assert content(tmp_path / "again") == content(folder)


def test_packing_again_leaves_no_old_pieces(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "pieces", 0.05)
    (folder / "a.bin").unlink()
    pieces = pack(folder, tmp_path / "pieces", 0.05)
    assert sorted((tmp_path / "pieces").iterdir()) == pieces


def test_missing_and_damaged_pieces_are_said(folder: Path, tmp_path: Path) -> None:
    pieces = pack(folder, tmp_path / "pieces", 0.1)
    (tmp_path / "old").mkdir()
    pieces[1].unlink()
    with pytest.raises(TrainingError, match="without a gap"):
        unpack(tmp_path / "pieces", tmp_path / "old")
    pieces = pack(folder, tmp_path / "pieces", 0.1)
    pieces[-1].unlink()
    with pytest.raises(TrainingError, match="damaged or incomplete"):
        unpack(tmp_path / "pieces", tmp_path / "old")
    assert list((tmp_path / "old").iterdir()) == []
    with pytest.raises(TrainingError, match="nothing to pack"):
        pack(tmp_path / "none", tmp_path / "pieces")
