"""Golden data: what the authors' published PyTorch code answers, for every clone and for the folder beside it.

``tests/data/golden.npz`` holds numbers only. Its answers belong to weights that :func:`formula_weights` makes, so that
every clone proves parity with the published code. Where the folder ``shared`` lies beside the clone, its eight cases,
made with a checkpoint in the published layout, are tested as well.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mvt_deploy.geometry import BGRImage, Box

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("MVT_DEPLOY_SHARED", ROOT.parent / "shared"))
REFERENCE = SHARED / "reference" / "official_layout.npz"
CHECKPOINT = SHARED / "reference" / "official_layout.pth.tar"

WEIGHTS_SHA256 = "d47e23a93a658d80167ecc8b340a6e1a59e45bff247f061894454fc31e940ebc"
"""SHA-256 over the key and the bytes of every tensor of :func:`formula_weights`, in the order of the keys."""


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One target box on one frame, with every answer of the published code.

    Attributes:
        weights: Which network answered: ``formula`` or ``checkpoint``.
        index: Number of the case among those with the same weights.
        frame: BGR uint8 frame.
        box: Target box given to the tracker, in pixels.
        crop_sha256: SHA-256 of the bytes of the BGR ``template`` and ``search`` crops.
        maps: Network outputs ``score`` [1, 1, 16, 16], ``size`` and ``offset`` [1, 2, 16, 16], float32.
        centre_size: Decoded box: centre x, centre y, width and height as fractions of the search crop.
        clipped: The box mapped back to the frame and clipped, in pixels.
        unclipped: The box before clipping, in pixels, where it was recorded.
        scales: Crop pixels per frame pixel of the template and the search crop, where they were recorded.
    """

    weights: str
    index: int
    frame: BGRImage
    box: Box
    crop_sha256: Mapping[str, str]
    maps: Mapping[str, npt.NDArray[np.float32]]
    centre_size: npt.NDArray[np.float32]
    clipped: Box
    unclipped: npt.NDArray[np.float64] | None = None
    scales: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.weights}-{self.index}"


def sha256(pixels: npt.NDArray[Any]) -> str:
    """SHA-256 of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _of_the_clone() -> list[GoldenCase]:
    data = dict(np.load(Path(__file__).parent / "data" / "golden.npz"))
    return [
        GoldenCase(
            "formula",
            i,
            data["frame"],
            Box.of(box),
            {role: str(data[f"{role}_sha256_{i}"]) for role in ("template", "search")},
            {name: data[f"{name}_map_{i}"][None] for name in ("score", "size", "offset")},
            data[f"cxcywh_{i}"],
            Box.of(data[f"box_{i}"]),
        )
        for i, box in enumerate(data["boxes"])
    ]


def _of_the_checkpoint() -> list[GoldenCase]:
    if not REFERENCE.is_file():
        return []
    data = dict(np.load(REFERENCE))
    return [
        GoldenCase(
            "checkpoint",
            i,
            data["frame"],
            Box.of(box),
            {role: sha256(data[f"{role}_{i}"]) for role in ("template", "search")},
            {name: data[f"{name}_{i}"] for name in ("score", "size", "offset")},
            data[f"cxcywh_{i}"].ravel(),
            Box.of(data[f"box_{i}"].ravel()),
            data[f"box_unclipped_{i}"].ravel(),
            tuple(float(scale) for scale in data[f"resize_{i}"]),
        )
        for i, box in enumerate(data["boxes"])
    ]


CASES = [*_of_the_clone(), *_of_the_checkpoint()]
"""Every golden case that can be tested here: six in any clone, eight more beside the folder ``shared``."""


def formula_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The weights that the answers in ``tests/data/golden.npz`` were computed with.

    Every tensor is drawn from a generator seeded with the CRC-32 of its key and scaled by its kind, so that no weights
    need to be stored.

    Args:
        shapes: Shape of each tensor of the state dict, by key.
    """
    import torch

    made: dict[str, Tensor] = {}
    digest = hashlib.sha256()
    for key in sorted(shapes):
        values = _formula(key, shapes[key])
        made[key] = torch.from_numpy(values)
        digest.update(key.encode())
        digest.update(values.tobytes())
    if digest.hexdigest() != WEIGHTS_SHA256:
        raise AssertionError("the formula no longer makes the weights that the golden data belongs to")
    return made


def _formula(key: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    normal = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF).standard_normal(shape)
    if key.endswith("running_var"):
        values = np.exp(0.2 * normal)
    elif key.endswith("running_mean"):
        values = 0.1 * normal
    elif len(shape) >= 2:
        values = normal * np.sqrt(1.8 / prod(shape[1:])) * (0.01 if ".conv5_" in key else 1)
    elif key.endswith("weight"):
        values = 1 + 0.1 * normal
    else:
        values = 0.05 * normal
    return values.astype(np.float32)
