"""A small fixed sample of every fuzz target; many more cases: ``python tests/fuzz/fuzz.py``."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import bundle_targets  # noqa: F401  (registers its targets)
import data_targets  # noqa: F401
from hostile import TARGETS
from hypothesis import HealthCheck, given, settings

SAMPLE = {"graph_loading": 8, "calibration": 8, "image": 20}


@pytest.mark.parametrize("name", TARGETS)
def test_sample(name: str) -> None:
    fixed = settings(
        max_examples=SAMPLE.get(name, 40),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    target = TARGETS[name]

    def sample(source: object) -> None:
        target.run(source)

    fixed(given(target.strategy)(sample))()


_HUGE = "1" + 400 * "0"


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("data_set", "lasot/att/cat-1.txt", b"0,1,\xb1"),
        ("data_set", "lasot/cat/cat-1/full_occlusion.txt", b"1,0,1"),
        ("data_set", "got10k/val/GOT-10k_Val_000001/meta_info.ini", b"resolution: \x82"),
        ("data_set", "otb/Clip/groundtruth_rect.txt", b"\xba"),
        ("data_set", "davis/ImageSets/2017/val.txt", b"\n \nswan\n"),
        ("data_set", "davis/Annotations/480p/swan/00000.png", b"\x89PNG\r\n\x1a\n\0\0\0\0"),
        ("results", "results/x_time.txt", b""),
        ("calibration", "ranges.json", f'{{"format": 1, "graphs": {{"a": {{"ranges": {{"x": [0, {_HUGE}]}}}}}}}}'),
        ("training_data", "got/x/absence.label", b"\x87"),
        ("training_data", "tracks/tracks.json", f'{{"a": [["0001.jpg", 1, 2, 3, {_HUGE}]]}}'),
        ("training_data", "tracks/tracks.json", '{"a": [["0001.jpg", 1, 2, 3, Infinity]]}'),
        ("training_data", "photographs/boxes.json", '{"a.jpg": [[1, 2, 90, 0]]}'),
        ("training_run", "config.json", 2000 * "[" + 2000 * "]"),
        ("training_run", "log.jsonl", b'{"step": 1}\n[]\n{"st\n'),
        ("training_run", "state.pt", b""),
    ],
)
def test_what_fuzzing_found(name: str, file: str, content: bytes | str) -> None:
    TARGETS[name].check((file, content))
