"""What happens in a run, as log records: targets lost and found, frames dropped, sources gone and back.

They go to the logger ``mvt_deploy.events`` with plain values in the record's ``fields``, for logs that machines read.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the pipeline stands on the sources, which log here
    from .pipeline import Step

log = logging.getLogger("mvt_deploy.events")

_EVERY_SECONDS = 60.0  # between two records of dropped frames


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Values of a record, as ``extra`` wants them."""
    return {"fields": values}


class EventsSink:
    """Logs what changes from frame to frame."""

    def __init__(self) -> None:
        self._lost: set[int] = set()
        self._dropped = 0
        self._told = -_EVERY_SECONDS

    def write(self, step: Step) -> None:
        """Log the targets that were lost or found in this step, and once a minute the frames dropped since."""
        lost = {number for number, track in enumerate(step.tracks, 1) if track.state == "lost"}
        for number in sorted(lost ^ self._lost):
            track = step.tracks[number - 1]
            log.info(
                "target %d is %s",
                number,
                "lost" if number in lost else "found again",
                extra=fields(
                    target=number,
                    state=track.state,
                    frame=step.frame.index,
                    score=round(track.score, 4),
                    box=[round(value, 3) for value in track.box.as_tuple()],
                ),
            )
        self._lost = lost
        if step.dropped > self._dropped and time.monotonic() - self._told >= _EVERY_SECONDS:
            new, self._dropped, self._told = step.dropped - self._dropped, step.dropped, time.monotonic()
            log.info("%d frames dropped to keep up", new, extra=fields(dropped=step.dropped, frame=step.frame.index))

    def close(self) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to remove."""
