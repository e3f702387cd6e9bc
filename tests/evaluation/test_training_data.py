"""What the default checkpoint has seen of a benchmark is said where it is evaluated."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from evaluation_trees import got10k, lasot, otb, plain, walk

from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.evaluation.datasets import FORMATS, open_dataset
from mvt_deploy.evaluation.training_data import exposure_notes, is_default_checkpoint, seen_benchmarks


def notes(root: Path, bundle: Path) -> str:
    return "\n".join(exposure_notes(open_dataset(root), open_bundle(bundle)))


def test_the_table_names_every_benchmark_once() -> None:
    rows = seen_benchmarks()
    assert {"OTB-100", "UAV123", "LaSOT", "TLP", "DTB70", "UAVDT", "DAVIS"} <= {row.dataset for row in rows}
    assert len({row.dataset for row in rows}) == len(rows)
    assert {row.format for row in rows} - {None} <= set(FORMATS)
    for row in rows:
        assert row.trained_on
        assert not set(row.trained_on) & set(row.chosen_by)


def test_sequences_that_were_trained_on_are_named(bundle: Path, tmp_path: Path) -> None:
    for name in ("Boy", "Woman", "Coke"):
        otb(tmp_path / "otb", name, range(1, 6), walk(5))
    said = notes(tmp_path / "otb", bundle)
    assert "trained on 1 of these 3 sequences, or on excerpts of them (OTB-100: Boy)" in said
    assert "chosen by its figures on 1 of these 3 sequences (OTB-100: Coke)" in said
    assert "Woman" not in said
    said = notes(lasot(tmp_path / "lasot", {"airplane-1": 4, "cat-1": 4}), bundle)
    assert "trained on 1 of these 2 sequences, or on excerpts of them (LaSOT: airplane-1)" in said
    assert "5 sequences of LaSOT whose names are not known" in said
    assert "GOT-10k's training split" in notes(got10k(tmp_path / "got", {"GOT-10k_Val_000001": 3}), bundle)


def test_a_plain_folder_is_compared_by_name(bundle: Path, tmp_path: Path) -> None:
    assert "(TLP: CarChase1)" in notes(plain(tmp_path / "a", {"CarChase1": 3, "mine": 3}), bundle)
    assert notes(plain(tmp_path / "b", {"mine": 3, "yours": 3}), bundle) == ""


def test_nothing_is_said_of_another_checkpoint(bundle: Path, tmp_path: Path) -> None:
    otb(tmp_path / "otb", "Boy", range(1, 6), walk(5))
    opened = open_bundle(bundle)
    assert is_default_checkpoint(opened)
    data = bytearray(opened.checkpoint().read_bytes())
    data[-1] ^= 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / opened.manifest.checkpoint.file).write_bytes(data)
    checkpoint = replace(opened.manifest.checkpoint, sha256=sha256(data).hexdigest())
    other = Bundle(tmp_path / "other", replace(opened.manifest, checkpoint=checkpoint))
    assert not is_default_checkpoint(other)
    assert exposure_notes(open_dataset(tmp_path / "otb"), other) == []
