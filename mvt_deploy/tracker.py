"""The tracker: cut a window around every target, ask the backend where it is, map the answer back to the frame."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .backends.base import Backend, Features, SearchResult
from .errors import BoxError, SourceError, UserError
from .geometry import (
    AnyImage,
    BGRImage,
    Box,
    clip,
    crop,
    crop_window,
    map_back,
    require_overlap,
    require_pixels,
)

State = Literal["tracking", "lost"]


@dataclass(frozen=True, slots=True)
class Track:
    """One target in one frame.

    Args:
        box: Place of the target in pixels of the frame, clipped to it.
        score: Confidence in 0..1, about 0.4 and more where the target is followed well.
        state: ``"lost"`` while the box is only where the target was last, otherwise ``"tracking"``.
    """

    box: Box
    score: float
    state: State = "tracking"


_WIDEST = 100.0
_MOST_BATCHES = 64


@dataclass(frozen=True, slots=True)
class LostPolicy:
    """When a target counts as lost, and how it is searched for.

    Args:
        threshold: Score below which a frame is low, 0..1.
        patience: Number of low frames in a row after which the target is lost. Its place is held: the centre of its
            last box that was not low, with the size of about ``memory`` such frames.
        found: Score at which a lost target is found again, 0..1.
        growth: Factor by which the search window's side grows with every lost frame, at least 1.
        widest: Largest side of the search window, as a multiple of the usual one, 1..100.
        memory: Number of frames over which the held box's size is averaged (geometric mean, exponentially weighted).
            What goes behind something shrinks first: with its last size, the search would be too narrow to see it
            return.

    Raises:
        UserError: A value is out of range.
    """

    threshold: float = 0.2
    patience: int = 5
    found: float = 0.3
    growth: float = 1.05
    widest: float = 1.5
    memory: float = 30.0

    def __post_init__(self) -> None:
        if not (0 <= self.threshold <= 1 and 0 <= self.found <= 1):
            raise UserError("the lost policy's thresholds lie between 0 and 1.")
        if not all(1 <= value < math.inf for value in (self.patience, self.growth, self.widest, self.memory)):
            raise UserError("the lost policy's patience, growth, widest search and memory are finite and at least 1.")
        if self.widest > _WIDEST:
            raise UserError(f"the lost policy's widest search is at most {_WIDEST:g} times the usual one.")


@dataclass(frozen=True, slots=True)
class SearchPolicy:
    """How far to look for a target in the next frame, with a model that takes search crops of several sides.

    All sides have the same pixels per frame pixel, so a larger side looks further and costs more. The smallest side is
    enough for a target that is followed well and moves little; an unsure or lost one is searched with the largest;
    every other one with the model's usual side.

    Args:
        confident: Score from which on the smallest side is enough, 0..1.
        motion: Largest motion of the target's centre since the frame before at which the smallest side is enough, in
            multiples of the square root of its area.
        unsure: Score below which the largest side is taken, 0..1.

    Raises:
        UserError: A value is out of range.
    """

    confident: float = 0.4
    motion: float = 0.5
    unsure: float = 0.2

    def __post_init__(self) -> None:
        if not (0 <= self.unsure <= self.confident <= 1 and self.motion >= 0):
            raise UserError(
                "the search policy's scores are 0 <= unsure <= confident <= 1, and its motion is not negative."
            )

    def side(self, sides: tuple[int, ...], usual: int, score: float, motion: float, lost: bool) -> int:
        """The side of the next search crop.

        Args:
            sides: Sides that the model takes, in pixels.
            usual: The model's usual side, one of ``sides``.
            score: The target's score in the frame before, 0..1.
            motion: How far its centre moved to there, in multiples of the square root of its area.
            lost: Whether it is lost.
        """
        if lost or score < self.unsure:
            return max(sides)
        if score >= self.confident and motion <= self.motion:
            return min(sides)
        return usual


@dataclass(slots=True)
class _Target:
    box: Box  # where the next window is centred
    held: Box  # its place once it is lost
    low: int = 0  # frames in a row with a low score
    lost: bool = False
    widening: float = 1.0  # of the search window at one side of the crop, more while lost
    score: float = 1.0
    motion: float = math.inf  # in the first frame nobody knows
    search_size: int = 0  # side of the last search crop, in pixels
    side: float = 0.0  # of the last search window, in pixels of the frame


class Tracker:
    """Follows one or several targets through frames. One thread at a time may use it; a model may have many trackers.

    Args:
        model: An opened backend, from :func:`mvt_deploy.load`.
        lost: What to do about low scores; None is the published behaviour, which never gives up a box.
        search: How far to look, where the model takes search crops of several sides. While a target is lost, the
            largest side takes the place of the lost policy's wider window.

    Example:
        >>> tracker = Tracker(model)                # doctest: +SKIP
        >>> tracker.init(frame, (x, y, w, h))       # doctest: +SKIP
        >>> track = tracker.update(next_frame)      # doctest: +SKIP
    """

    def __init__(
        self, model: Backend, lost: LostPolicy | None = LostPolicy(), search: SearchPolicy = SearchPolicy()
    ) -> None:
        self.model = model
        self.lost = lost
        self.search = search
        self._targets: list[_Target] = []
        self._single = True
        self._templates = np.empty((0, 0, 0, 3), np.uint8)
        self._features: OrderedDict[tuple[int, ...], Features] = OrderedDict()  # by the targets of a batch
        self._batches: list[tuple[int, ...]] = []  # of the last crops: the targets that are searched at one side
        self._crops: dict[int, npt.NDArray[np.uint8]] = {}  # by side, for all targets

    @property
    def search_sizes(self) -> tuple[int, ...]:
        """Side of the last search crop of every target, in pixels; 0 before the first."""
        return tuple(target.search_size for target in self._targets)

    def init(self, frame: AnyImage, box: Iterable[float] | Iterable[Iterable[float]]) -> None:
        """Start on a frame, forgetting earlier targets.

        Args:
            frame: BGR uint8 ``[H, W, 3]``.
            box: ``x, y, w, h`` in pixels, or a list of such boxes for several targets in one batch.

        Raises:
            BoxError: A box is not four finite numbers, has no size, is in fractions, or lies outside the frame.
            SourceError: The frame is not BGR uint8.
        """
        image = require_bgr(frame)
        height, width = image.shape[:2]
        boxes, single = _boxes(box)
        for one in boxes:
            require_overlap(require_pixels(one), width, height)
        spec = self.model.spec
        templates = np.empty((len(boxes), spec.template_size, spec.template_size, 3), np.uint8)
        for one, out in zip(boxes, templates, strict=True):
            crop(image, crop_window(one, spec.template_factor), spec.template_size, out)
        every = tuple(range(len(boxes)))
        self._features = OrderedDict({every: self.model.template(templates)})
        self._templates = templates
        self._targets = [_Target(one, one) for one in boxes]
        self._single = single
        self._batches = [every]
        self._crops = {}

    def update(self, frame: AnyImage) -> Track:
        """Follow a single target into the next frame.

        After :meth:`init` with a list of boxes this gives what :meth:`update_all` gives; a type checker cannot know, so
        programs with several targets call that.

        Args:
            frame: BGR uint8 ``[H, W, 3]``; its size may differ from the frame before.

        Returns:
            Where the target is.

        Raises:
            SourceError: The frame is not BGR uint8.
            NonFiniteError: The network returned a value that is not finite; the targets stay as they were.
            UserError: :meth:`init` was not called.
        """
        tracks = self.update_all(frame)
        return tracks[0] if self._single else tracks  # type: ignore[return-value]

    def update_all(self, frame: AnyImage) -> list[Track]:
        """Follow every target into the next frame.

        Args:
            frame: BGR uint8 ``[H, W, 3]``; its size may differ from the frame before.

        Returns:
            One track per target, in the order of the boxes given to :meth:`init`.

        Raises:
            SourceError: The frame is not BGR uint8.
            NonFiniteError: The network returned a value that is not finite; the targets stay as they were.
            UserError: :meth:`init` was not called.
        """
        result = self.locate(self.cut(frame))
        height, width = frame.shape[:2]
        return self.place(result, width, height)

    def cut(self, frame: AnyImage) -> list[npt.NDArray[np.uint8]]:
        """Cut the search crops of all targets, in batches of one side each.

        Args:
            frame: BGR uint8 ``[H, W, 3]``.

        Returns:
            uint8 BGR ``[k, side, side, 3]`` per batch; the arrays are used again by the next call.
        """
        image = require_bgr(frame)
        if not self._targets:
            raise UserError("the tracker has no target yet: call init(frame, box) first.")
        batches: dict[int, list[int]] = {}
        for number, target in enumerate(self._targets):
            target.search_size, factor = self._look(target)
            batch = batches.setdefault(target.search_size, [])
            window = crop_window(target.box, factor)
            target.side = float(window.side)
            crop(image, window, target.search_size, self._buffer(target.search_size)[len(batch)])
            batch.append(number)
        self._batches = [tuple(batch) for batch in batches.values()]
        return [self._crops[side][: len(batch)] for side, batch in batches.items()]

    def locate(
        self, crops: npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]], score_map: bool = False
    ) -> SearchResult:
        """What the network says of the crops that :meth:`cut` gave.

        Args:
            crops: The batches; or one array with a crop of every target.
            score_map: Whether to return the score maps too, where all targets are searched at one side.

        Returns:
            The answer for every target, in the order of the boxes given to :meth:`init`.
        """
        if isinstance(crops, np.ndarray) or len(crops) == 1:
            every = tuple(range(len(self._targets)))
            return self.model.search(
                crops if isinstance(crops, np.ndarray) else crops[0], self._encoded(every), score_map
            )
        found = [
            self.model.search(batch, self._encoded(numbers))
            for batch, numbers in zip(crops, self._batches, strict=True)
        ]
        order = np.argsort([number for numbers in self._batches for number in numbers])
        return SearchResult(
            np.concatenate([result.box for result in found])[order],
            np.concatenate([result.score for result in found])[order],
        )

    def _look(self, target: _Target) -> tuple[int, float]:
        """How far to look for a target: the side of its search crop in pixels, and its window's factor."""
        spec = self.model.spec
        sides = self.model.search_sizes
        if len(sides) == 1:
            return spec.search_size, spec.search_factor * target.widening
        side = self.search.side(sides, spec.search_size, target.score, target.motion, target.lost)
        return side, spec.at(side).search_factor

    def _buffer(self, side: int) -> npt.NDArray[np.uint8]:
        """Room for a crop of every target."""
        if side not in self._crops:
            self._crops[side] = np.empty((len(self._targets), side, side, 3), np.uint8)
        return self._crops[side]

    def _encoded(self, numbers: tuple[int, ...]) -> Features:
        """Template features of some targets; they are encoded when these targets first make up a batch."""
        if numbers not in self._features:
            self._features[numbers] = self.model.template(self._templates[list(numbers)])
            if len(self._features) > _MOST_BATCHES:
                self._features.popitem(last=False)
        self._features.move_to_end(numbers)
        return self._features[numbers]

    def place(self, result: SearchResult, width: int, height: int) -> list[Track]:
        """Map the network's answer back to a ``width`` x ``height`` frame and move the targets there.

        Args:
            result: What :meth:`locate` gave.
            width: Width of the frame in pixels.
            height: Height of the frame in pixels.

        Returns:
            One track per target.
        """
        return [
            self._move(target, map_back(box, target.box, target.side), float(score), width, height)
            for target, box, score in zip(self._targets, result.box, result.score, strict=True)
        ]

    def _move(self, target: _Target, found: Box, score: float, width: int, height: int) -> Track:
        box = clip(found, width, height)
        policy = self.lost
        target.score, target.motion = score, motion_between(target.box, found)
        if policy is None:
            target.box = box
            return Track(box, score)
        if score < (policy.found if target.lost else policy.threshold):
            target.low += 1
            if target.low >= policy.patience:
                target.lost = True
                target.widening = min(policy.widest, target.widening * policy.growth)
                target.box = clip(target.held, width, height)
                return Track(target.box, score, "lost")
        else:
            target.low, target.lost, target.widening = 0, False, 1.0
            target.held = _smooth_size(target.held, box, 1 / policy.memory)
        target.box = box
        return Track(box, score)


def motion_between(before: Box, after: Box) -> float:
    """Distance of two boxes' centres in multiples of the square root of the second one's area."""
    return math.dist(before.centre, after.centre) / math.sqrt(max(after.w * after.h, 1e-12))


def _smooth_size(held: Box, box: Box, share: float) -> Box:
    """A box at ``box``'s centre; its size is ``held``'s, moved towards ``box``'s by a share of their ratio."""
    w = held.w * (box.w / held.w) ** share
    h = held.h * (box.h / held.h) ** share
    return Box(box.x + (box.w - w) / 2, box.y + (box.h - h) / 2, w, h)


def require_bgr(frame: AnyImage) -> BGRImage:
    """The same array, if it is a frame.

    Raises:
        SourceError: It is not BGR uint8 ``[H, W, 3]`` with at least one pixel; the message says how to convert it.
    """
    wanted = "a frame is a BGR uint8 array [height, width, 3]"
    if frame is None:
        raise SourceError(f"{wanted}, not None: the video has ended, or the image could not be read.")
    if not isinstance(frame, np.ndarray):
        raise SourceError(f"{wanted}, not {type(frame).__name__}: convert it first (numpy.asarray).")
    got = f"{wanted}, not {frame.dtype} {frame.shape}"
    if not frame.size:
        raise SourceError(f"{got}: it has no pixels.")
    if frame.ndim != 3 or frame.shape[2] != 3:
        channels = 1 if frame.ndim == 2 else frame.shape[-1]
        code = {1: "GRAY2BGR", 4: "BGRA2BGR"}.get(channels)
        raise SourceError(
            f"{got}: " + (f"convert it first (cv2.cvtColor, cv2.COLOR_{code})." if code else "reshape it.")
        )
    if frame.dtype != np.uint8:
        scale = "(frame * 255)" if np.issubdtype(frame.dtype, np.floating) else "frame"
        values = "values in 0..1" if np.issubdtype(frame.dtype, np.floating) else "values in 0..255"
        raise SourceError(f"{got}: of {values}, {scale}.astype(numpy.uint8) makes one.")
    return frame  # type: ignore[return-value]


def _boxes(box: Iterable[float] | Iterable[Iterable[float]]) -> tuple[list[Box], bool]:
    """The boxes given, and whether it was a single one."""
    if not isinstance(box, Iterable):
        return [Box.of(box)], True  # says what a box is
    values = list(box)
    if not values:
        raise BoxError("no box was given: a target is four numbers x,y,w,h in pixels.")
    if all(np.ndim(value) == 0 for value in values):  # type: ignore[arg-type]
        return [Box.of(values)], True  # type: ignore[arg-type]
    return [Box.of(value) for value in values], False  # type: ignore[arg-type]
