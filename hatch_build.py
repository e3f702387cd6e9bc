"""Hatch's build hook: puts the ready bundle of the default checkpoint into the wheel.

``make wheel`` makes the bundle with ``models/make.py``, since that needs PyTorch and a build environment has none.
A wheel built without it (``pip install .``) works too; it exports the bundle when it is first needed.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLE = Path("build/bundle/mvt")
CHECKPOINT = Path("models/mvt.safetensors")
PLACE = "mvt_deploy/data/bundle"


class ReadyBundle(BuildHookInterface):  # type: ignore[misc]  # hatchling is installed in build environments only
    """Adds the bundle's graphs and manifest, after comparing them with the checkpoint and with their own hashes."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built; ``version`` is ``"standard"`` or ``"editable"``."""
        folder = Path(self.root) / BUNDLE
        manifest = folder / "manifest.json"
        if version == "editable" or not manifest.is_file():
            return
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if content["checkpoint"]["sha256"] != _digest(Path(self.root) / CHECKPOINT):
            raise RuntimeError(f"{BUNDLE} was not made from {CHECKPOINT}: remove it, and run  make wheel  again.")
        for graph in content["graphs"]:
            if graph["sha256"] != _digest(folder / graph["file"]):
                raise RuntimeError(f"{BUNDLE / graph['file']} is not what its manifest says: remove {BUNDLE}.")
        files = {manifest, *(folder / graph["file"] for graph in content["graphs"])}
        build_data["force_include"].update({str(file): f"{PLACE}/{file.name}" for file in sorted(files)})


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
