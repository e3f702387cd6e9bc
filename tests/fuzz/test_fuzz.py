"""A small fixed sample of every fuzz target; many more cases: ``python tests/fuzz/fuzz.py``."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from hypothesis import HealthCheck, settings
from targets import TARGETS

SAMPLE = {"graph_loading": 40, "checkpoint": 250}


@pytest.mark.parametrize("name", TARGETS)
def test_sample(name: str) -> None:
    fixed = settings(
        max_examples=SAMPLE.get(name, 150),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    fixed(TARGETS[name])()
