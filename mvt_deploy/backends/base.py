"""What a backend is: template crops in, features out; search crops and features in, boxes out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..bundle import Bundle, SearchSize, TrackerSpec
from ..errors import BackendError, NonFiniteError

__all__ = ["Backend", "Crops", "Features", "OpenOptions", "SearchResult", "TrackerSpec", "check_result"]

Crops = npt.NDArray[np.uint8]
"""BGR crops, uint8 ``[n, side, side, 3]``, as OpenCV cuts them."""
Features = Any
"""An opaque handle on the template features of one or several targets; it stays where the backend wants it."""

Self = TypeVar("Self", bound="Backend")


class SearchResult(NamedTuple):
    """The search graph's answer for ``n`` targets.

    Attributes:
        box: float32 ``[n, 4]``: centre x, centre y, width, height as fractions of the search crop.
        score: float32 ``[n]`` in 0..1: the score map's value at the chosen cell.
        score_map: float32 ``[n, side / 16, side / 16]`` in 0..1; None unless it was asked for.
    """

    box: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    score_map: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What :func:`mvt_deploy.load` was asked for; a backend takes what concerns it.

    Attributes:
        provider: Execution provider of ONNX Runtime.
        precision: Arithmetic; None for the backend's default.
        threads: CPU threads; None for the runtime's choice.
        device: Device of PyTorch.
        search_size: Side of the search crops in pixels, ``"auto"`` for all sides, or None for the bundle's default.
    """

    provider: str = "cpu"
    precision: str | None = None
    threads: int | None = None
    device: str = "cpu"
    search_size: SearchSize = None


class Backend(ABC):
    """Runs the two graphs of a bundle in one runtime; a context manager that closes it.

    :meth:`template`, :meth:`search` and :meth:`close` check what goes in and what comes out, and call ``_template``,
    ``_search`` and ``_close``, which a backend implements. On the CPU several threads may use one backend at once; on a
    GPU one thread at a time. A process that was forked after the backend was opened may not use it.

    Args:
        spec: Sides and factors of the crops; its ``search_size`` is the default one of ``search_sizes``.
        provider: Where the runtime computes: an execution provider or a device.
        precision: Arithmetic: ``"fp32"``, ``"fp16"``, ``"bf16"`` or ``"int8"``.
        files: Files that the backend runs: graphs, engines or a checkpoint.
        search_sizes: Sides in pixels of the search crops that :meth:`search` takes; None for the one of ``spec``.

    Attributes:
        name: The backend's name, as given to :func:`mvt_deploy.load`.
        spec: As above.
        provider: As above.
        precision: As above.
        files: As above, as a tuple.
        model_bytes: Size of the files together, in bytes.
        search_sizes: As above, smallest first.
    """

    name: ClassVar[str]

    def __init__(
        self,
        spec: TrackerSpec,
        provider: str,
        precision: str,
        files: Iterable[Path],
        search_sizes: Sequence[int] | None = None,
    ) -> None:
        self.spec = spec
        self.provider = provider
        self.precision = precision
        self.files = tuple(dict.fromkeys(files))
        self.model_bytes = sum(file.stat().st_size for file in self.files)
        self.search_sizes: tuple[int, ...] = tuple(sorted(search_sizes or (spec.search_size,)))
        self._process = os.getpid()
        self._closed = False

    @classmethod
    @abstractmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> Backend:
        """Open a bundle; :func:`mvt_deploy.load` calls this after it has checked the options' names.

        Raises:
            BundleError: The bundle lacks such graphs, or a file is damaged.
            BackendError: The options do not fit this backend or this machine, or the runtime refuses a graph.
        """

    @property
    def label(self) -> str:
        """Name, provider and precision, for people to read."""
        return f"{self.name} {self.provider} {self.precision}"

    def template(self, crops: Crops) -> Features:
        """Encode the template crops of ``n`` targets, once per target.

        Args:
            crops: uint8 ``[n, 128, 128, 3]``.

        Returns:
            Features for :meth:`search`.

        Raises:
            BackendError: The crops have another shape or type, or the backend was closed or belongs to another process.
        """
        self._require_usable()
        self._require_crops(crops, (self.spec.template_size,))
        return self._template(crops)

    def search(self, crops: Crops, features: Features, score_map: bool = False) -> SearchResult:
        """Locate ``n`` targets in their search crops, each with its own template features.

        Args:
            crops: uint8 ``[n, side, side, 3]``; the side is one of ``search_sizes``.
            features: Features of the same targets, from :meth:`template`.
            score_map: Whether to return the score map too.

        Raises:
            BackendError: The crops have another shape or type, or the backend was closed or belongs to another process.
            NonFiniteError: The network returned a value that is not finite.
        """
        self._require_usable()
        self._require_crops(crops, self.search_sizes)
        return check_result(self._search(crops, features, score_map), len(crops))

    def close(self) -> None:
        """Free what the backend holds; calling it twice is allowed."""
        if not self._closed:
            self._closed = True
            self._close()

    @abstractmethod
    def _template(self, crops: Crops) -> Features:
        """:meth:`template` of crops that were checked."""

    @abstractmethod
    def _search(self, crops: Crops, features: Features, score_map: bool) -> SearchResult:
        """:meth:`search` of crops that were checked; the result is checked afterwards."""

    def _close(self) -> None:  # noqa: B027 (a backend may hold nothing)
        """:meth:`close`, called once."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        sides = ", ".join(map(str, self.search_sizes))
        return f"<{type(self).__name__} {self.label}, search size {sides}{', closed' if self._closed else ''}>"

    def _require_usable(self) -> None:
        if os.getpid() != self._process:  # the runtime's threads are not there: waiting for them would take for ever
            raise BackendError(
                "this model was loaded before the process forked, and its threads stayed behind: "
                "load it in the new process, or start processes with multiprocessing's 'spawn'."
            )
        if self._closed:
            raise BackendError("this model was closed: load it again.")

    def _require_crops(self, crops: Crops, sides: tuple[int, ...]) -> None:
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] not in [(side, side, 3) for side in sides]:
            taken = " or ".join(f"[n, {side}, {side}, 3]" for side in sides)
            raise BackendError(f"crops are uint8 BGR {taken}, not {crops.dtype} {list(crops.shape)}.")


def check_result(result: SearchResult, n: int) -> SearchResult:
    """The same result, if it is one of ``n`` targets and finite.

    Raises:
        BackendError: An array has another shape or type, so the graph is not the one it claims to be.
        NonFiniteError: A value is not finite.
    """
    arrays: list[tuple[npt.NDArray[np.float32], tuple[int, ...]]] = [(result.box, (n, 4)), (result.score, (n,))]
    if result.score_map is not None:
        side = result.score_map.shape[-1] if result.score_map.ndim else 0  # a hostile graph may give a single number
        arrays.append((result.score_map, (n, side, side)))
    for array, shape in arrays:
        if array.dtype != np.float32 or array.shape != shape:
            raise BackendError(
                f"the search graph gave {array.dtype} {list(array.shape)} instead of float32 {list(shape)}: "
                "export the bundle again."
            )
    if not (np.isfinite(result.box).all() and np.isfinite(result.score).all()):
        raise NonFiniteError(
            "the network returned a value that is not finite, so there is no box: "
            "the model or its precision is broken; try the precision fp32, or export the bundle again."
        )
    return result
