"""Endless pairs by number: pair ``n`` of a seed is always the same, which is what makes resuming exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import TrainingError
from ..process import use_one_opencv_thread
from .augment import change_appearance, recolour
from .config import TrainConfig
from .discover import TrainingData
from .distillation import Features, TeacherBackbone
from .images import Cache, Image
from .stills import PastePairs, ScenePairs, Stills
from .track_pairs import TrackPairs
from .views import Pair

_TRIES = 200


class PairSource(Protocol):
    """Draws pairs of one kind."""

    def draw(self, rng: np.random.Generator) -> Pair | None:
        """Draw a pair; None if this draw leads to none."""


def pair_sources(data: TrainingData, config: TrainConfig) -> tuple[list[PairSource], list[float]]:
    """The kinds of pairs that there is data for, and their probabilities, which sum to 1.

    Raises:
        TrainingError: Every kind that there is data for has the weight 0.
    """
    cache = Cache(config.cache_mb * 1_000_000)
    kinds: list[tuple[PairSource, float]] = []
    stills = Stills(data.photographs, cache) if data.photographs else None
    if data.tracks:
        tracks = TrackPairs(data.tracks, config.windows, cache, config.mix.balance, config.augment, stills)
        kinds.append((tracks, config.mix.clips))
    if stills is not None:
        kinds.append((ScenePairs(stills, config.windows), config.mix.scene))
        if stills.can_paste:
            kinds.append((PastePairs(stills, config.windows), config.mix.paste))
    total = sum(weight for _, weight in kinds)
    if total <= 0:
        raise TrainingError(
            "the mix gives no weight to the kinds of pairs that this data has: change mix in the configuration."
        )
    return [source for source, _ in kinds], [weight / total for _, weight in kinds]


class Example(NamedTuple):
    """A pair as it is trained on.

    Attributes:
        template: BGR crop, uint8 ``[128, 128, 3]``.
        search: BGR crop, uint8 ``[256, 256, 3]``.
        box: The target in the search crop, float32 ``[4]``: centre x, y, width, height as fractions of the crop's side;
            zeros where the search crop does not show the target.
        features: The teacher's feature maps of the template and the search crop, before their appearance is changed;
            empty without a teacher.
    """

    template: Image
    search: Image
    box: npt.NDArray[np.float32]
    features: tuple[Features, ...]


class Batch(NamedTuple):
    """Stacked examples.

    Attributes:
        template: uint8 ``[b, 128, 128, 3]``, BGR.
        search: uint8 ``[b, 256, 256, 3]``, BGR.
        box: float32 ``[b, 4]``.
        features: float16 ``[b, c, 8, 8]`` and ``[b, c, 16, 16]``, or empty.
    """

    template: torch.Tensor
    search: torch.Tensor
    box: torch.Tensor
    features: tuple[torch.Tensor, ...]


class PairDataset(Dataset[Example]):
    """Examples by number.

    Its sources, their cache and the teacher are made in the worker process that uses them.
    """

    def __init__(self, data: TrainingData, config: TrainConfig) -> None:
        self._config = config
        self._sources, self._chances = pair_sources(data, config)
        self._teacher: TeacherBackbone | None = None

    def __getitem__(self, number: int) -> Example:
        rng = np.random.default_rng([self._config.seed, number])
        pair = self._draw(rng)
        if self._config.mix.absent and rng.random() < self._config.mix.absent:
            pair = Pair(pair.template, self._draw(rng).search, np.zeros(4, np.float32))
        if self._config.augment.recolour and rng.random() < self._config.augment.recolour:
            pair = recolour(rng, pair)
        features: tuple[Features, ...] = ()
        if self._config.teacher.backbone:
            self._teacher = self._teacher or TeacherBackbone(self._config.teacher.backbone)
            features = (self._teacher(pair.template), self._teacher(pair.search))
        return Example(*change_appearance(rng, pair), features)

    def _draw(self, rng: np.random.Generator) -> Pair:
        for _ in range(_TRIES):
            source = self._sources[rng.choice(len(self._sources), p=self._chances)]
            pair = source.draw(rng)
            if pair is not None:
                return pair
        raise TrainingError(f"{_TRIES} draws gave no pair: the photographs have no object that can be cut out.")


class _BatchesFrom(Sampler[list[int]]):
    """Batches of consecutive numbers, without end."""

    def __init__(self, start: int, batch: int) -> None:
        self._start, self._batch = start, batch

    def __iter__(self) -> Iterator[list[int]]:
        first = self._start
        while True:
            yield list(range(first, first + self._batch))
            first += self._batch


def _stack(examples: Sequence[Example]) -> Batch:
    def stacked(arrays: Iterable[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(list(arrays)))

    return Batch(
        stacked(example.template for example in examples),
        stacked(example.search for example in examples),
        stacked(example.box for example in examples),
        tuple(stacked(maps) for maps in zip(*(example.features for example in examples), strict=True)),
    )


def _start_worker(_index: int) -> None:
    use_one_opencv_thread()


def batches(data: TrainingData, config: TrainConfig, start: int, pin: bool = False) -> Iterator[Batch]:
    """Make batches of ``batch / accumulate`` examples, without end.

    Args:
        data: What to draw pairs from.
        config: The run's configuration.
        start: Number of the first pair.
        pin: Put the tensors into page-locked memory, for faster copies to a GPU.
    """
    options: dict[str, Any] = {}
    if config.workers:
        options = {
            "worker_init_fn": _start_worker,
            "prefetch_factor": 4,
            "persistent_workers": True,
            # A fork would copy OpenCV's thread pool in whatever state it is, and its first use could wait for ever.
            "multiprocessing_context": "spawn",
        }
    loader: DataLoader[Example] = DataLoader(
        PairDataset(data, config),
        batch_sampler=_BatchesFrom(start, config.batch // config.accumulate),
        num_workers=config.workers,
        collate_fn=_stack,
        pin_memory=pin,
        generator=torch.Generator(),  # or each new loader draws a seed from the generator that dropout uses
        **options,
    )
    return iter(loader)
