"""What a candidate inherits, refuses twice, and hands to the backend."""

from __future__ import annotations

import pytest

from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.errors import UserError


def test_threads_and_batch_are_inherited_where_the_text_is_silent() -> None:
    assert parse("ort", threads=3, batch=2) == Candidate(threads=3, batch=2)
    assert parse("ort:t1:b5", threads=3, batch=2) == Candidate(threads=1, batch=5)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ort:fp32:fp16", "precision"),
        ("ort:t1:t2", "threads"),
        ("ort:torch", "backend"),
        ("ort:auto:s192", "search size"),
    ],
)
def test_a_part_twice_is_refused(text: str, what: str) -> None:
    with pytest.raises(UserError, match=f"names its {what} twice"):
        parse(text)


def test_only_onnx_runtime_has_a_provider_and_pytorch_a_device() -> None:
    assert parse("ort:openvino:t2").options == {"provider": "openvino", "precision": "fp32", "threads": 2}
    assert parse("torch").options == {"precision": "fp32", "threads": None, "device": "cpu"}
    assert parse("torch:cuda:fp16").options == {"precision": "fp16", "threads": None, "device": "cuda"}
    assert parse("ort:s192").options == {"provider": "cpu", "precision": "fp32", "threads": None, "search_size": 192}
    assert parse("trt:fp16").options == {"precision": "fp16", "threads": None}
    assert [parse(t).name for t in ("torch", "torch:cuda:fp16")] == ["torch:fp32:b1", "torch:cuda:fp16:b1"]
