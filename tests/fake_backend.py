"""The base of backends that tests script: everything of a real backend but the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mvt_deploy.backends.base import Backend, Crops, OpenOptions, SearchResult, TrackerSpec
from mvt_deploy.bundle import Bundle

__all__ = ["Crops", "FakeBackend", "SearchResult"]


class FakeBackend(Backend):
    """A backend without files; tests implement ``_search``. The features are the number of targets.

    Attributes:
        sides: Sides of the search crops that it takes, for subclasses to set; None for the default side alone.
    """

    name = "fake"
    sides: ClassVar[Sequence[int] | None] = None

    def __init__(self, precision: str = "fp32") -> None:
        super().__init__(TrackerSpec(), "cpu", precision, (), self.sides)

    @classmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> Backend:
        raise NotImplementedError

    def _template(self, crops: Crops) -> Any:
        return len(crops)
