"""The official ``got10k`` toolkit runs our tracker: ``ExperimentGOT10k(root).run(got10k_tracker(tracker))``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import MissingExtra
from ..runner import OneTarget, one


def got10k_tracker(tracker: OneTarget, name: str = "MVT") -> Any:
    """A ``got10k.trackers.Tracker`` (deterministic, so every sequence is run once).

    Raises:
        MissingExtra: the toolkit is not installed.
    """
    try:
        from got10k.trackers import Tracker as Base
    except ImportError as error:
        raise MissingExtra("the adapter to the got10k toolkit", "toolkits", error.name or "got10k") from error

    class Got10kTracker(Base):  # type: ignore[misc]
        def init(self, image: Any, box: npt.NDArray[np.float64]) -> None:
            tracker.init(_bgr(image), tuple(box.tolist()))

        def update(self, image: Any) -> npt.NDArray[np.float64]:
            return np.array(one(tracker.update(_bgr(image))).box.as_tuple())

    return Got10kTracker(name=name, is_deterministic=True)


def _bgr(image: Any) -> npt.NDArray[np.uint8]:
    """A PIL image in RGB as BGR uint8 ``[H, W, 3]``."""
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])
