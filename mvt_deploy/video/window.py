"""Windows on the screen: choosing targets with the mouse, and watching. Call these from the main thread."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache

import cv2

from ..errors import BoxError, SinkError
from ..geometry import BGRImage, Box
from .overlay import draw
from .pipeline import Step

_SELECT = "drag a box; SPACE or ENTER takes it; ESC when all are drawn"
_WATCH = "mvt-deploy (q or ESC ends)"
_LARGEST = 1280  # pixels: larger frames are shown smaller
_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1); cv2.destroyAllWindows()"


@lru_cache(maxsize=1)
def display_works() -> bool:
    """Whether a window can be opened here.

    Tried in another process, because some window toolkits end the program when they find no screen.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def require_display(option: str) -> None:
    """Make sure that windows work.

    Args:
        option: Option that needs a window, for the message.

    Raises:
        SinkError: There is no screen, or OpenCV was built without windows.
    """
    if not display_works():
        raise SinkError(
            f"{option} needs a screen and an OpenCV with windows (the package opencv-python, not -headless): "
            "here, use --init-box x,y,w,h and watch the annotated video instead."
        )


def select_boxes(image: BGRImage) -> list[Box]:
    """Let the user draw boxes on a frame.

    Args:
        image: BGR uint8 ``[H, W, 3]``.

    Returns:
        Boxes in pixels of the frame, in the order drawn; empty if none was drawn.
    """
    scale = min(1.0, _LARGEST / max(image.shape[:2]))
    shown = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    drawn = cv2.selectROIs(_SELECT, shown, showCrosshair=False, printNotice=False)
    cv2.destroyWindow(_SELECT)
    cv2.waitKey(1)
    return [Box(*(float(value) / scale for value in box)) for box in drawn if box[2] > 0 and box[3] > 0]


def require_boxes(boxes: list[Box]) -> list[Box]:
    """The same boxes, if there are any.

    Raises:
        BoxError: There is none.
    """
    if not boxes:
        raise BoxError(
            "no box was drawn: drag with the mouse, take it with SPACE, and end with ESC; or use --init-box x,y,w,h."
        )
    return boxes


class Viewer:
    """Shows each step in a window; give :meth:`show` to the pipeline as ``keep_going``."""

    def show(self, step: Step) -> bool:
        """Show a step; False once the user pressed q or Escape, or closed the window."""
        image = step.frame.image
        scale = min(1.0, _LARGEST / max(image.shape[:2]))
        picture = draw(image.copy(), step.tracks, f"frame {step.frame.index}  {step.fps:.1f} fps")
        cv2.imshow(_WATCH, cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        key = cv2.waitKey(1) & 0xFF
        return key not in (27, ord("q")) and cv2.getWindowProperty(_WATCH, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
