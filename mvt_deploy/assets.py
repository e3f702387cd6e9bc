"""Where the files that travel with the package are: inside an installed wheel, or at the top of a clone."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError

_PACKAGED = Path(__file__).parent / "data"
_CLONE = Path(__file__).parent.parent
_PLACES = {
    "mvt.safetensors": "models/mvt.safetensors",
    "training_data.json": "models/training_data.json",
    "photographs": "calibration/photographs",
    "calibration": "calibration/default",
}


def asset(name: str) -> Path:
    """The path of a shipped file or folder.

    Args:
        name: ``mvt.safetensors`` (the default checkpoint), ``training_data.json`` (what that was trained on),
            ``photographs``, or ``calibration`` (the default set and its cache of activation ranges).

    Raises:
        UserError: this installation lacks it.
    """
    for place in (_PACKAGED / name, _CLONE / _PLACES[name]):
        if place.exists():
            return place
    raise UserError(f"this installation of mvt-deploy lacks its file '{name}': install it again.")
