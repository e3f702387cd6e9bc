"""mvt-deploy: export, check, measure and run MVT, the Mobile Vision Transformer visual tracker.

import mvt_deploy as mvt

model = mvt.load("models/mvt", backend="ort")
tracker = mvt.Tracker(model)
tracker.init(frame, (x, y, w, h))        # BGR uint8 frame; box in pixels
track = tracker.update(next_frame)       # Track(box, score, state)
"""

try:
    import cv2 as _cv2  # noqa: F401
except ImportError as error:  # its wheel needs libraries of a desktop, which small containers lack
    raise ImportError(
        f"OpenCV cannot be loaded here ({error}): on Debian or Ubuntu, apt-get install libgl1 libglib2.0-0; "
        "or, without windows, pip uninstall opencv-python && pip install opencv-python-headless."
    ) from error

from .backends.base import Backend
from .backends.registry import load
from .errors import UserError
from .geometry import Box
from .tracker import LostPolicy, SearchPolicy, Track, Tracker
from .version import __version__

__all__ = ["Backend", "Box", "LostPolicy", "SearchPolicy", "Track", "Tracker", "UserError", "__version__", "load"]
