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
