"""How far an exported graph is from the PyTorch network, on crops of photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..bundle import Parity
from ..crops import CropPairs
from ..errors import ParityError
from ..network import MVT
from ..network.inference import hann_window, prepare, size_scale

TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.15}
"""Largest difference of any output by precision: of scores in 0..1, of boxes in fractions of the crop."""

Array = npt.NDArray[np.generic]
Runner = Callable[[dict[str, Array]], dict[str, Array]]
"""A graph as a function of named arrays that returns named arrays."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Crops of one batch and the PyTorch network's answers to them.

    Attributes:
        pairs: The crops.
        score_map: Score maps, float32 ``[n, grid, grid]``.
        boxes: Boxes decoded at every cell, float32 ``[n, grid * grid, 4]``.
    """

    pairs: CropPairs
    score_map: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]


@torch.inference_mode()
def reference(model: MVT, pairs: CropPairs) -> list[Batch]:
    """The network's own answers in fp32, in batches."""
    return list(_answers(model, pairs))


def _answers(model: MVT, pairs: CropPairs) -> Iterator[Batch]:
    for batch in pairs.batches():
        maps = model(prepare(torch.from_numpy(batch.template)), prepare(torch.from_numpy(batch.search)))
        grid = maps.score.shape[-1]
        rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
        centres = (torch.stack([columns, rows])[None] + maps.offset) / grid
        boxes = torch.cat([centres, maps.size * size_scale(grid)], 1).flatten(2).transpose(1, 2)
        yield Batch(batch, maps.score[:, 0].numpy(), boxes.numpy())


def measure(template: Runner, search: Runner, batches: list[Batch], precision: str) -> Parity:
    """Run the graphs on crops and compare their outputs with the network's.

    A box is compared at the cell that the graph chose. That cell must be a peak of the network's windowed score map
    within the tolerance: where two cells tie, either is right.

    Args:
        template: The template graph.
        search: The search graph.
        batches: Crops with the network's answers, from :func:`reference`.
        precision: Precision of the graphs, which selects the tolerance.

    Raises:
        ParityError: An output differs by more than ``TOLERANCE[precision]``, or is not finite.
    """
    tolerance = TOLERANCE[precision]
    worst = box_error = 0.0
    for batch in batches:
        window = hann_window(batch.score_map.shape[-1]).numpy()
        features = template({"crop": batch.pairs.template})
        given = {"crop": batch.pairs.search, **features}
        found = {name: np.asarray(value, np.float32) for name, value in search(given).items()}
        n = np.arange(len(batch.pairs.search))
        cell = (found["score_map"] * window).reshape(len(n), -1).argmax(1)
        weighted = (batch.score_map * window).reshape(len(n), -1)
        picked = batch.score_map.reshape(len(n), -1)[n, cell]
        errors = [
            np.abs(found["score_map"] - batch.score_map).max(),
            np.abs(found["score"] - picked).max(),
            (weighted.max(1) - weighted[n, cell]).max(),
        ]
        boxes = float(np.abs(found["box"] - batch.boxes[n, cell]).max())
        box_error = max(box_error, boxes)
        worst = float(np.max([worst, boxes, *errors]))  # NaN stays
    if not worst <= tolerance:
        raise ParityError(
            f"the {precision} graphs differ from the network by {worst:.2e}, above the tolerance {tolerance:.0e}: "
            "nothing was written; check the checkpoint (is it trained?), or leave this precision out."
        )
    cases = sum(len(batch.pairs.search) for batch in batches)
    return Parity(
        f"torch {torch.__version__} fp32", cases, worst, box_error * batches[0].pairs.search.shape[1], tolerance
    )
