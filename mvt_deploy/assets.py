"""Where the files that travel with the package are: inside an installed wheel, or at the top of a clone."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError

PACKAGED = Path(__file__).parent / "data"
"""Folder that an installed wheel keeps its files in; a clone has none."""
_CLONE = Path(__file__).parent.parent
_PLACES = {  # in the wheel, in a clone
    "mvt.safetensors": ("bundle/checkpoint.safetensors", "models/mvt.safetensors"),
    "training_data.json": ("training_data.json", "models/training_data.json"),
    "photographs": ("photographs", "calibration/photographs"),
    "calibration": ("calibration", "calibration/default"),
}


def asset(name: str) -> Path:
    """The path of a shipped file or folder.

    Args:
        name: ``mvt.safetensors`` (the default checkpoint), ``training_data.json`` (what that was trained on),
            ``photographs``, or ``calibration`` (the default set and its cache of activation ranges).

    Raises:
        UserError: This installation lacks the file.
    """
    packaged, cloned = _PLACES[name]
    for place in (PACKAGED / packaged, _CLONE / cloned):
        if place.exists():
            return place
    raise UserError(f"this installation of mvt-deploy lacks its file '{name}': install it again.")


def shipped_bundle() -> Path | None:
    """The folder of the bundle that the wheel carries; None in a clone, or in a wheel that was built without it."""
    folder = PACKAGED / "bundle"
    return folder if (folder / "manifest.json").is_file() else None
