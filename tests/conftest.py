"""Fixtures that several test folders use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("MVT_DEPLOY_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden data and real clips that lies beside the project where it is developed."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"golden data and clips are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def bundle(pytestconfig: pytest.Config) -> Path:
    """A bundle of the default checkpoint, fp32, fp16 and int8; kept between runs while what makes it is the same."""
    pytest.importorskip("torch")
    from mvt_deploy.assets import asset
    from mvt_deploy.bundle import exists
    from mvt_deploy.export import export_bundle
    from mvt_deploy.quantize.graphs import Int8

    digest = hashlib.sha256(asset("mvt.safetensors").read_bytes())
    package = ROOT / "mvt_deploy"
    makers = [path for folder in ("network", "export", "quantize") for path in sorted((package / folder).glob("*.py"))]
    for path in (*makers, *(package / f"{name}.py" for name in ("bundle", "crops", "geometry", "onnx_file"))):
        digest.update(path.read_bytes())
    place = Path(pytestconfig.cache.mkdir("bundles")) / digest.hexdigest()[:16] / "mvt"  # type: ignore[union-attr]
    if not exists(place):
        export_bundle(None, place, int8=Int8())
    return place
