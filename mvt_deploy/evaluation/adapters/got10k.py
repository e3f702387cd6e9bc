"""The official ``got10k`` toolkit runs MVT: ``ExperimentGOT10k(root).run(got10k_tracker(tracker))``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import MissingExtra
from ...geometry import Box
from ..runner import SingleTargetTracker, single
from . import bgr_from_rgb


def got10k_tracker(tracker: SingleTargetTracker, name: str = "MVT") -> Any:
    """Make a ``got10k.trackers.Tracker`` (deterministic, so that every sequence is run once).

    Raises:
        MissingExtra: The toolkit is not installed.
    """
    try:
        from got10k.trackers import Tracker as Base
    except ImportError as error:
        raise MissingExtra("the adapter to the got10k toolkit", "toolkits", error.name or "got10k") from error

    class Got10kTracker(Base):  # type: ignore[misc]
        def init(self, image: Any, box: npt.ArrayLike) -> None:
            tracker.init(bgr_from_rgb(image), Box.of(np.ravel(box)))

        def update(self, image: Any) -> npt.NDArray[np.float64]:
            return np.array(single(tracker.update(bgr_from_rgb(image))).box, np.float64)

    return Got10kTracker(name=name, is_deterministic=True)
