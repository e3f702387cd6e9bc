"""A follower for a robot's image topic: a callback that takes sensor_msgs/Image and hands on the target's box.

Nothing here imports ROS. In a node:  node.create_subscription(Image, "/camera/image_raw", follower.on_image, 1)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import mvt_deploy as mvt


class Follower:
    """Follows one target; ``publish`` receives the track and the image's header after every image."""

    def __init__(self, publish: Callable[[mvt.Track, Any], None]) -> None:
        self.publish = publish
        self.tracker = mvt.Tracker(mvt.load())
        self.wanted: tuple[float, ...] | None = None
        self.following = False

    def follow(self, x: float, y: float, w: float, h: float) -> None:
        """Start on this box, in pixels, with the next image."""
        self.wanted = (x, y, w, h)

    def on_image(self, message: Any) -> None:
        """Take an image with the encoding ``bgr8`` or ``rgb8``; ``step`` is the length of a row in bytes."""
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        image = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
        frame = np.ascontiguousarray(image[..., ::-1] if message.encoding == "rgb8" else image)
        if self.wanted:
            self.tracker.init(frame, self.wanted)
            self.wanted, self.following = None, True
        elif self.following:
            self.publish(self.tracker.update(frame), message.header)
