"""How far an exported graph is from the PyTorch network, on crops of real photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..assets import asset
from ..bundle import Parity
from ..errors import ParityError
from ..geometry import Box, crop, crop_window
from ..network import MVT, SEARCH_SIZE, TEMPLATE_SIZE
from ..network.inference import GRID, decode, hann_window, prepare

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}
"""Largest difference of any output a graph may have: scores in 0..1, boxes in fractions of the crop."""
CASES = 16
_BATCH = 4

Array = npt.NDArray[np.generic]
Runner = Callable[[dict[str, Array]], dict[str, Array]]
"""Named arrays in, named arrays out."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """BGR crops of the same targets: template uint8 ``[n, 128, 128, 3]``, search uint8 ``[n, 256, 256, 3]``."""

    template: npt.NDArray[np.uint8]
    search: npt.NDArray[np.uint8]

    def batches(self, size: int = _BATCH) -> Iterator[Pairs]:
        """The same pairs, ``size`` at a time."""
        for i in range(0, len(self.template), size):
            yield Pairs(self.template[i : i + size], self.search[i : i + size])


def photograph_pairs(count: int = CASES, seed: int = 0) -> Pairs:
    """Pairs cut from the shipped photographs around boxes of many sizes, the search window shifted and rescaled."""
    random = np.random.default_rng(seed)
    images = [
        np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
        for path in sorted(asset("photographs").glob("*.jpg"))
    ]
    templates, searches = [], []
    for i in range(count):
        image = images[i % len(images)]
        height, width = image.shape[:2]
        w, h = (float(v) for v in random.uniform(0.08, 0.4, 2) * (width, height))
        box = Box(float(random.uniform(0, width - w)), float(random.uniform(0, height - h)), w, h)
        shift, scale = random.normal(0, 0.3, 2) * (w, h), float(np.exp(random.normal(0, 0.2)))
        moved = Box(box.x + float(shift[0]), box.y + float(shift[1]), w * scale, h * scale)
        templates.append(crop(image, crop_window(box, 2.0), TEMPLATE_SIZE))
        searches.append(crop(image, crop_window(moved, 4.0), SEARCH_SIZE))
    return Pairs(np.stack(templates), np.stack(searches))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the PyTorch network says of one batch of pairs, in float32."""

    score_map: npt.NDArray[np.float32]  # (n, 16, 16)
    boxes: npt.NDArray[np.float32]  # (n, 256, 4): the box decoded at every cell


@torch.inference_mode()
def reference(model: MVT, pairs: Pairs) -> list[Answer]:
    """The network's own answers, a batch at a time."""
    answers = []
    for batch in pairs.batches():
        maps = model(prepare(torch.from_numpy(batch.template)), prepare(torch.from_numpy(batch.search)))
        rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
        centres = (torch.stack([columns, rows])[None] + maps.offset) / GRID
        boxes = torch.cat([centres, maps.size], 1).flatten(2).transpose(1, 2)
        answers.append(Answer(decode(maps, hann_window()).score_map.numpy(), boxes.numpy()))
    return answers


def measure(template: Runner, search: Runner, pairs: Pairs, answers: list[Answer], precision: str) -> Parity:
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
