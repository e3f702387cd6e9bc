"""The bundle of the default checkpoint: where it is on this machine, and how it gets there.

In a clone of the project it is ``models/mvt``. Everywhere else it is a folder in the user's cache, filled with the
bundle that the wheel carries, so that tracking needs no exporter and writes nothing into the current folder.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from shutil import copyfile

from platformdirs import user_cache_path

from .assets import asset, shipped_bundle
from .bundle import DEFAULT, MANIFEST, exists
from .files import draft_folder
from .version import __version__

CACHE = "MVT_DEPLOY_CACHE"
"""Environment variable that names another folder than the user's cache."""


def default_folder() -> Path:
    """Where the default bundle is, or will be once it is made.

    ``models/mvt`` if that is a bundle or the current folder is a clone of the project; else a folder of the cache whose
    name changes with the package's version and what it carries, so that an update never meets an older bundle.
    """
    if exists(DEFAULT) or DEFAULT.with_suffix(".safetensors").is_file():
        return DEFAULT
    cache = os.environ.get(CACHE)
    root = Path(cache).expanduser() if cache else user_cache_path("mvt-deploy", appauthor=False)
    shipped = shipped_bundle()
    made_of = shipped / MANIFEST if shipped else asset("mvt.safetensors")
    return root / f"{__version__}-{sha256(made_of.read_bytes()).hexdigest()[:12]}" / "mvt"


def default_bundle() -> Path:
    """The folder of the default bundle, copied there from the wheel if it is not there yet.

    Where nothing can be written, it is the wheel's own folder. Where the installation carries no bundle, the folder
    may hold none: :func:`mvt_deploy.export.export_bundle` makes one there.
    """
    folder, shipped = default_folder(), shipped_bundle()
    if shipped is None or exists(folder):
        return folder
    with suppress(OSError), draft_folder(folder) as place:  # fails too where another process has just filled it
        for file in shipped.iterdir():
            copyfile(file, place / file.name)
    return folder if exists(folder) else shipped
