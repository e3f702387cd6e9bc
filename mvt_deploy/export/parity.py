"""How far an exported graph is from the PyTorch network, on crops of real photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..bundle import Parity
from ..crops import CropPairs
from ..errors import ParityError
from ..network import MVT, SEARCH_SIZE
from ..network.inference import GRID, decode, hann_window, prepare

TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.15}
"""Largest difference of any output a graph may have: scores in 0..1, boxes in fractions of the crop."""

Array = npt.NDArray[np.generic]
Runner = Callable[[dict[str, Array]], dict[str, Array]]
"""Named arrays in, named arrays out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the PyTorch network says of one batch of pairs, in float32."""

    score_map: npt.NDArray[np.float32]  # (n, 16, 16)
    boxes: npt.NDArray[np.float32]  # (n, 256, 4): the box decoded at every cell


@torch.inference_mode()
def reference(model: MVT, pairs: CropPairs) -> list[Answer]:
    """The network's own answers, a batch at a time."""
    answers = []
    for batch in pairs.batches():
        maps = model(prepare(torch.from_numpy(batch.template)), prepare(torch.from_numpy(batch.search)))
        rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
        centres = (torch.stack([columns, rows])[None] + maps.offset) / GRID
        boxes = torch.cat([centres, maps.size], 1).flatten(2).transpose(1, 2)
        answers.append(Answer(decode(maps, hann_window()).score_map.numpy(), boxes.numpy()))
    return answers


def measure(template: Runner, search: Runner, pairs: CropPairs, answers: list[Answer], precision: str) -> Parity:
    """Run the graphs on the pairs and compare with the network's answers.

    A box is compared at the cell the graph chose, which must be a peak of the network's windowed score map within the
    tolerance: two cells may tie, and either is then right.

    Raises:
        ParityError: an output differs by more than ``TOLERANCE[precision]``, or is not finite.
    """
    tolerance = TOLERANCE[precision]
    window = hann_window().numpy()
    worst = box_error = 0.0
    for batch, answer in zip(pairs.batches(), answers, strict=True):
        features = template({"crop": batch.template})
        found = {k: np.asarray(v, np.float32) for k, v in search({"crop": batch.search, **features}).items()}
        n = np.arange(len(batch.search))
        cell = (found["score_map"] * window).reshape(len(n), -1).argmax(1)
        weighted = (answer.score_map * window).reshape(len(n), -1)
        picked = answer.score_map.reshape(len(n), -1)[n, cell]
        errors = [
            np.abs(found["score_map"] - answer.score_map).max(),
            np.abs(found["score"] - picked).max(),
            (weighted.max(1) - weighted[n, cell]).max(),
        ]
        boxes = float(np.abs(found["box"] - answer.boxes[n, cell]).max())
        box_error = max(box_error, boxes)
        worst = float(np.max([worst, boxes, *errors]))  # NaN stays
    if not worst <= tolerance:
        raise ParityError(
            f"the {precision} graphs differ from the network by {worst:.2e}, above the tolerance {tolerance:.0e}: "
            "nothing was written; check the checkpoint (is it trained?), or leave this precision out."
        )
    return Parity(f"torch {torch.__version__} fp32", len(pairs.template), worst, box_error * SEARCH_SIZE, tolerance)
