"""The VOT toolkit, of any version, runs MVT by the TraX protocol. In ``trackers.ini``::

[MVT]
label = MVT
protocol = trax
command = python -m mvt_deploy.evaluation.adapters.trax /absolute/path/of/models/mvt ort fp32
"""

from __future__ import annotations

import sys
from pathlib import Path

from ...errors import MissingExtra, UserError
from ..runner import SingleTargetTracker, TrackerFactory, single
from ..sequence import read_image


def serve(tracker: SingleTargetTracker) -> None:
    """Answer a TraX client until it says goodbye; raises MissingExtra where TraX is not installed."""
    try:
        from trax import Image, Rectangle, Region, Server, TraxStatus
    except ImportError as error:
        raise MissingExtra("the adapter to the VOT toolkit", "toolkits", error.name or "trax") from error
    with Server([Region.RECTANGLE], [Image.PATH], tracker_name="MVT") as server:
        while (request := server.wait()).type in (TraxStatus.INITIALIZE, TraxStatus.FRAME):
            image = read_image(request.image["color"].path())
            if request.type == TraxStatus.INITIALIZE:
                tracker.init(image, request.objects[0][0].bounds())
                server.status(request.objects[:1])
            else:
                found = single(tracker.update(image))
                server.status([(Rectangle.create(*found.box), {"confidence": found.score})])


if __name__ == "__main__":
    try:
        serve(TrackerFactory(Path(*sys.argv[1:2]), *sys.argv[2:4])())  # type: ignore[arg-type]  # two strings
    except UserError as error:
        sys.exit(f"error: {error}")
