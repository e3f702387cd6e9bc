"""The VOT toolkit, of any version, runs our tracker by the TraX protocol. In ``trackers.ini``::

[MVT]
label = MVT
protocol = trax
command = python -m mvt_deploy.evaluation.adapters.trax /absolute/path/of/models/mvt ort fp32
"""

from __future__ import annotations

import sys
from pathlib import Path

from ...errors import MissingExtra
from ..runner import Model, OneTarget, one
from ..sequence import read_image


def serve(tracker: OneTarget) -> None:
    """Answer a TraX client until it says goodbye; raises MissingExtra where TraX is not installed."""
    try:
        from trax import Image, Rectangle, Region, Server, TraxStatus
    except ImportError as error:
        raise MissingExtra("the adapter to the VOT toolkit", "toolkits", error.name or "trax") from error
    with Server([Region.RECTANGLE], [Image.PATH], tracker_name="MVT") as server:
        while (request := server.wait()).type in (TraxStatus.INITIALIZE, TraxStatus.FRAME):
            image = read_image(request.image["color"].path())
            if request.type == TraxStatus.INITIALIZE:
                region, properties = request.objects[0]
                tracker.init(image, region.bounds())
                server.status([(region, properties)])
            else:
                found = one(tracker.update(image))
                server.status([(Rectangle.create(*found.box), {"confidence": found.score})])


if __name__ == "__main__":
    serve(Model(Path(sys.argv[1]), sys.argv[2], sys.argv[3])())
