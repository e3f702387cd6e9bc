"""The baseline: the published single graph, run as published.

Template and search image go in every frame (RGB, float32, 0..1, NCHW), the head's three maps come out; cutting,
scaling, window, argmax and decoding are numpy, and ONNX Runtime keeps its defaults. Exported from the bundle's own
checkpoint without any rewrite.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backends.onnx_session import OnnxSession
from ..bundle import Bundle
from ..geometry import BGRImage, Box, clip, crop, crop_window, map_back

GRID = 16


def cached_graph(bundle: Bundle) -> Path:
    """The baseline graph of a bundle's checkpoint, exported once and kept in the user's cache.

    Raises:
        MissingExtra: it is not there yet, and exporting needs the ``export`` extra.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mvt-deploy"
    path = root / f"published-{bundle.manifest.checkpoint.sha256[:16]}.onnx"
    if not path.is_file():
        from ..export.published import export_published

        export_published(bundle.checkpoint(), path)
    return path


class Published:
    """The published tracker around the published graph, one target.

    Args:
        graph: The published graph.
        threads: CPU threads; None for the runtime's own choice, as published.
    """

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        self._session = OnnxSession(graph, threads=threads)
        inner = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, GRID + 1) / (GRID + 1)))
        self._window = np.outer(inner, inner).astype(np.float32)
        self._box = Box(0, 0, 1, 1)
        self._template: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._side = 0.0

    def init(self, frame: BGRImage, box: Box) -> None:
        """Start on a BGR uint8 frame."""
        self._box = box
        self._template = _tensor(crop(frame, crop_window(box, 2.0), 128))

    def cut(self, frame: BGRImage) -> npt.NDArray[np.float32]:
        """The search image, float32 ``[1, 3, 256, 256]`` RGB."""
        window = crop_window(self._box, 4.0)
        self._side = float(window.side)
        return _tensor(crop(frame, window, 256))

    def locate(self, search: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        """Score, size and offset maps."""
        found = self._session.run({"template": self._template, "search": search})
        return [found[name] for name in self._session.outputs]

    def place(self, maps: list[npt.NDArray[Any]], width: int, height: int) -> Box:
        """Decode, map back and clip."""
        score, size, offset = maps
        peak = int((score[0, 0] * self._window).argmax())
        row, column = divmod(peak, GRID)
        centre = (np.array([column, row]) + offset[0, :, row, column]) / GRID
        box = map_back(np.concatenate([centre, size[0, :, row, column]]), self._box, self._side)
        self._box = clip(box, width, height)
        return self._box


def _tensor(image: BGRImage) -> npt.NDArray[np.float32]:
    rgb: npt.NDArray[np.float32] = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
    rgb /= np.float32(255)
    return rgb
