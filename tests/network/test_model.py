"""The network against the golden data of the published code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden import CASES, CHECKPOINT, REFERENCE, GoldenCase

torch = pytest.importorskip("torch")

from mvt_deploy.geometry import clip, crop, crop_window, map_back
from mvt_deploy.network import MVT, PARAMETERS, Maps, load_checkpoint
from mvt_deploy.network.blocks import fold, unfold
from mvt_deploy.network.inference import decode, hann_window, prepare


@pytest.fixture(scope="module")
def networks(golden_network: MVT) -> dict[str, MVT]:
    """The network that each set of golden cases was made with."""
    return {"formula": golden_network, **({"checkpoint": load_checkpoint(CHECKPOINT)} if CHECKPOINT.is_file() else {})}


def test_parameters() -> None:
    assert sum(p.numel() for p in MVT().parameters()) == PARAMETERS == 5_480_405


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_output_is_the_published_one(networks: dict[str, MVT], case: GoldenCase) -> None:
    side = crop_window(case.box, 4.0).side
    crops = [crop(case.frame, crop_window(case.box, factor), size) for factor, size in ((2.0, 128), (4.0, 256))]
    with torch.inference_mode():
        maps = networks[case.weights](*(prepare(torch.from_numpy(pixels[None])) for pixels in crops))
    for name, value in maps._asdict().items():
        assert np.abs(value.numpy() - case.maps[name]).max() < 1e-5
    height, width = case.frame.shape[:2]
    box = map_back(decode(maps, hann_window()).box[0].numpy(), case.box, side)
    # float32 arithmetic in another order: a few units in the last place of a fraction of the window's side
    assert np.allclose(clip(box, width, height), case.clipped, rtol=0, atol=max(1e-4, 2e-6 * side))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_decoding_is_the_published_one(case: GoldenCase) -> None:
    maps = Maps(*(torch.from_numpy(case.maps[name]) for name in ("score", "size", "offset")))
    assert np.allclose(decode(maps, hann_window()).box[0].numpy(), case.centre_size, rtol=0, atol=1e-6)


def test_window_is_the_published_one() -> None:
    assert np.allclose(hann_window().numpy(), np.outer(np.hanning(18)[1:-1], np.hanning(18)[1:-1]), atol=1e-6)
    if REFERENCE.is_file():
        assert np.allclose(hann_window().numpy(), np.load(REFERENCE)["hann"][0, 0], atol=1e-6)


def test_decoding_by_hand() -> None:
    score = torch.full((1, 1, 16, 16), 0.01)
    score[0, 0, 3, 7] = 0.9  # row 3, column 7
    size = torch.zeros(1, 2, 16, 16)
    size[0, :, 3, 7] = torch.tensor([0.25, 0.5])
    offset = torch.zeros(1, 2, 16, 16)
    offset[0, :, 3, 7] = torch.tensor([0.5, 0.25])
    found = decode(Maps(score, size, offset), torch.ones(16, 16))
    assert found.box[0].tolist() == [7.5 / 16, 3.25 / 16, 0.25, 0.5]
    assert found.score[0] == pytest.approx(0.9)


def test_unfold_by_hand() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    tokens = unfold(x)  # (1, 4 places, 4 patches, 1)
    assert tokens[0, 0, :, 0].tolist() == [0, 2, 8, 10]  # the upper left cells of the four patches
    assert tokens[0, 3, :, 0].tolist() == [5, 7, 13, 15]  # the lower right ones
    assert torch.equal(fold(tokens, 4), x)


def test_fold_undoes_unfold() -> None:
    x = torch.randn(3, 5, 8, 12)
    assert torch.equal(fold(unfold(x), 8), x)


def test_low_resolution_enlarges_the_template(golden_network: MVT) -> None:
    with torch.inference_mode():
        maps = golden_network(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 128, 128))
    assert maps.score.shape == (2, 1, 8, 8)


def test_without_fusion_the_search_image_leaves_the_template_alone(golden_checkpoint: Path) -> None:
    model = load_checkpoint(golden_checkpoint, fusion=False)
    template = model.encode_template(torch.rand(1, 3, 128, 128))
    with torch.inference_mode():
        alone = [model.backbone(torch.rand(1, 3, 256, 256), template)[1] for _ in range(2)]
    assert torch.equal(*alone)
