"""OpenCV's own trackers, where they are installed: rows to compare with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from ..errors import BackendError, UserError

CLASSIC = ("csrt", "kcf", "mil")
NETWORKS = {"vit": "one .onnx file", "nano": "backbone.onnx and head.onnx"}


def peer(text: str) -> tuple[str, Callable[[], Any]]:
    """A peer's name and a function that makes the tracker.

    Args:
        text: ``csrt``, ``kcf``, ``mil``, ``vit=MODEL`` or ``nano=BACKBONE,HEAD``.

    Raises:
        UserError: The peer is unknown, or its model files are missing.
        BackendError: This OpenCV does not have it.
    """
    name, _, files = text.partition("=")
    name = name.lower()
    if name in CLASSIC:
        return name, _maker(f"Tracker{name.upper()}", None)
    if name not in NETWORKS:
        raise UserError(f"there is no peer '{name}': choose csrt, kcf, mil, vit=MODEL or nano=BACKBONE,HEAD.")
    paths = files.split(",") if files else []
    if len(paths) != (1 if name == "vit" else 2) or not all(Path(p).is_file() for p in paths):
        raise UserError(
            f"the peer '{name}' needs {NETWORKS[name]}: write it as {name}=FILE{',FILE' * (name == 'nano')}."
        )
    kind = f"Tracker{name.capitalize()}"
    parameters = getattr(cv2, f"{kind}_Params", None)
    if parameters is None:
        raise BackendError(_absent(kind))
    settings = parameters()
    for field, path in zip(("net",) if name == "vit" else ("backbone", "neckhead"), paths, strict=True):
        setattr(settings, field, path)
    return name, _maker(kind, settings)


def _maker(kind: str, settings: Any) -> Callable[[], Any]:
    for module in (cv2, getattr(cv2, "legacy", None), getattr(cv2, "tracking", None)):
        cls = getattr(module, kind, None)
        create = getattr(cls, "create", None) or getattr(module, f"{kind}_create", None)
        if create:
            return lambda: create(settings) if settings is not None else create()
    raise BackendError(_absent(kind))


def _absent(kind: str) -> str:
    return (
        f"this OpenCV ({cv2.__version__}) has no {kind}: in an environment of its own, "
        "pip uninstall opencv-python && pip install opencv-contrib-python."
    )
