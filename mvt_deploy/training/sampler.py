"""Endless pairs by number: pair ``n`` of a seed is always the same, which is what makes resuming exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import TrainingError
from .augment import change_appearance
from .clips import ClipPairs
from .config import TrainConfig
from .discover import TrainingData
from .images import Cache
from .stills import PastePairs, ScenePairs, Stills
from .views import Pair

_TRIES = 200


class Source(Protocol):
    """Draws pairs of one kind."""

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """A pair, or None if this draw led to none."""


def sources(data: TrainingData, config: TrainConfig) -> tuple[list[Source], list[float]]:
    """The kinds of pairs there is data for, and their chances, which sum to 1.

    Raises:
        TrainingError: every kind there is data for has the weight 0.
    """
    cache = Cache(config.cache_mb * 1_000_000)
    kinds: list[tuple[Source, float]] = []
    if data.clips:
        kinds.append((ClipPairs(data.clips, config.windows, cache), config.mix.clips))
    if data.photographs:
        stills = Stills(data.photographs, cache)
        kinds.append((ScenePairs(stills, config.windows), config.mix.scene))
        if stills.can_paste:
            kinds.append((PastePairs(stills, config.windows), config.mix.paste))
    total = sum(weight for _, weight in kinds)
    if total <= 0:
        raise TrainingError(
            "the mix gives no weight to the kinds of pairs this data has: change mix in the configuration."
        )
    return [source for source, _ in kinds], [weight / total for _, weight in kinds]


class PairDataset(Dataset[Pair]):
    """Pairs by number. Its sources and their cache are made in the worker that uses them."""

    def __init__(self, data: TrainingData, config: TrainConfig) -> None:
        self._data, self._config = data, config
        self._sources, self._chances = sources(data, config)

    def __getitem__(self, number: int) -> Pair:
        rng = np.random.default_rng([self._config.seed, number])
        for _ in range(_TRIES):
            source = self._sources[rng.choice(len(self._sources), p=self._chances)]
            pair = source.draw(rng)
            if pair is not None:
                return change_appearance(rng, pair)
        raise TrainingError(f"{_TRIES} draws gave no pair: the photographs have no object that can be cut out.")


class _From(Sampler[list[int]]):
    """Batches of consecutive numbers, without end."""

    def __init__(self, start: int, batch: int) -> None:
        self._start, self._batch = start, batch

    def __iter__(self) -> Iterator[list[int]]:
        first = self._start
        while True:
            yield list(range(first, first + self._batch))
            first += self._batch


def _stack(pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    template, search, box = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    return torch.from_numpy(template), torch.from_numpy(search), torch.from_numpy(box)


def _quiet_worker(_index: int) -> None:
    cv2.setNumThreads(1)


def batches(
    data: TrainingData, config: TrainConfig, start: int, pin: bool = False
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches from pair number ``start`` on, each ``batch / accumulate`` pairs.

    Yields:
        BGR uint8 templates ``[b, 128, 128, 3]`` and searches ``[b, 256, 256, 3]``, and float32 boxes ``[b, 4]``.
    """
    options: dict[str, Any] = {}
    if config.workers:
        options = {
            "worker_init_fn": _quiet_worker,
            "prefetch_factor": 4,
            "persistent_workers": True,
            # A fork would copy OpenCV's thread pool in whatever state it is, and its first use could wait for ever.
            "multiprocessing_context": "spawn",
        }
    loader: DataLoader[Pair] = DataLoader(
        PairDataset(data, config),
        batch_sampler=_From(start, config.batch // config.accumulate),
        num_workers=config.workers,
        collate_fn=_stack,
        pin_memory=pin,
        generator=torch.Generator(),  # or each new loader draws a seed from the generator that dropout uses
        **options,
    )
    return iter(loader)
