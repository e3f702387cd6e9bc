"""The replaced kernels compute what PyTorch's own compute, and bfloat16 is chosen by what the processor has."""

from __future__ import annotations

import pytest
import torch

from mvt_deploy.network import MVT
from mvt_deploy.training.init import initialise
from mvt_deploy.training.kernels import has_bf16, replace_slow_kernels


def outputs(model: MVT) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The maps of a fixed pair, and the gradients of their sum."""
    generator = torch.Generator().manual_seed(0)
    template, search = (torch.rand(1, 3, side, side, generator=generator) for side in (64, 128))
    maps = model(template, search)
    sum(tensor.sum() for tensor in maps).backward()  # type: ignore[union-attr]
    return [tensor.detach() for tensor in maps], [p.grad for p in model.parameters() if p.grad is not None]


def test_replaced_kernels_change_no_result() -> None:
    ours, theirs = initialise(MVT(), 0).eval(), initialise(MVT(), 0).eval()
    keys = list(ours.state_dict())
    replace_slow_kernels(ours)
    assert list(ours.state_dict()) == keys
    for found, wanted in zip(outputs(ours), outputs(theirs), strict=True):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert float((a - b).norm()) <= 2e-3 * float(b.norm()) + 1e-5


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": True, "cpu_name": "x"}, True),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"cpu_name": "bf16"}, False),
        ({}, False),
    ],
)
def test_bf16_is_chosen_by_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bf16(torch.device("cpu")) is expected
