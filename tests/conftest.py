"""Fixtures that several test folders use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("MVT_DEPLOY_SHARED", Path(__file__).parent.parent.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden data and real clips that lies beside the project where it is developed."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"golden data and clips are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the default checkpoint with fp32 and fp16 graphs, exported once per session."""
    from mvt_deploy.export import export_bundle

    folder = tmp_path_factory.mktemp("bundle") / "mvt"
    export_bundle(None, folder, fp16=True)
    return folder
