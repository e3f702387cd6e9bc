"""What a dataset is made of: sequences of frames with one target each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..errors import UserError
from ..geometry import BGRImage
from ..groundtruth import Boxes


class DatasetError(UserError):
    """A dataset's folder does not have the layout of its benchmark, or a file of it cannot be read."""


def read_image(path: str | os.PathLike[str]) -> BGRImage:
    """Read an image file as BGR uint8 ``[H, W, 3]``.

    Raises:
        DatasetError: The file cannot be decoded.
    """
    image = cv2.imread(os.fspath(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(f"the frame {path} cannot be read as an image: copy the dataset again.")
    return np.asarray(image, np.uint8)


@dataclass(frozen=True, eq=False)
class Sequence:
    """One target in one clip; tracking starts on the first frame with the first box.

    Args:
        name: Name, unique in its dataset.
        frames: Image files in order.
        truth: float64 ``[n, 4]``, NaN where the benchmark says that the target is absent; ``[1, 4]`` if only the first
            box is public.
        attributes: Short names of the challenges in the sequence, as the benchmark labels them.
        derived: True if ``attributes`` were computed from the boxes because the benchmark's labels are not at hand.
        size: Width and height of the frames in pixels, if the dataset gives them.
    """

    name: str
    frames: tuple[Path, ...]
    truth: Boxes
    attributes: tuple[str, ...] = ()
    derived: bool = False
    size: tuple[int, int] | None = None

    @property
    def labelled(self) -> bool:
        """True if every frame has ground truth, so that the sequence can be scored here."""
        return len(self.truth) == len(self.frames)

    def read(self, index: int) -> BGRImage:
        """Read the frame ``index`` (from 0) as BGR uint8 ``[H, W, 3]``.

        Raises:
            DatasetError: The file cannot be decoded.
        """
        return read_image(self.frames[index])

    def frame_size(self) -> tuple[int, int]:
        """Return width and height in pixels: what the dataset says, else those of the first frame."""
        if self.size is not None:
            return self.size
        height, width = self.read(0).shape[:2]
        return width, height


@dataclass(frozen=True, eq=False)
class Dataset:
    """A benchmark, or the part of it that lies in a folder.

    Args:
        name: Name for titles, such as ``GOT-10k val``.
        format: The benchmark's layout and rules (a key of :data:`mvt_deploy.evaluation.datasets.FORMATS`).
        root: Folder that it was read from.
        sequences: Sequences in the benchmark's order.
    """

    name: str
    format: str
    root: Path
    sequences: tuple[Sequence, ...] = field(default=())

    @property
    def labelled(self) -> bool:
        """True if all sequences can be scored here; False for test sets whose truth only a server has."""
        return all(sequence.labelled for sequence in self.sequences)
