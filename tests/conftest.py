"""Fixtures that several test folders use, and how workers share the machine."""

from __future__ import annotations

import hashlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from golden import ROOT, SHARED, formula_weights
from hypothesis import settings

if TYPE_CHECKING:
    from mvt_deploy.network import MVT

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: no worker's OpenMP may wait for all of them
    os.environ.setdefault("OMP_NUM_THREADS", "1")


settings.register_profile("shared machines", deadline=None)  # how long an example takes says nothing there
settings.load_profile("shared machines")


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache for the default bundle, so that no test reads or fills the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("MVT_DEPLOY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden data and real clips that lies beside the project where it is developed."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"golden data and clips are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def bundle(pytestconfig: pytest.Config) -> Path:
    """A bundle of the default checkpoint, fp32, fp16 and int8; kept between runs while what makes it is the same.

    ``MVT_DEPLOY_TEST_BUNDLE`` names a bundle to use instead, for work that does not touch the export.
    """
    if given := os.environ.get("MVT_DEPLOY_TEST_BUNDLE"):
        return Path(given)
    pytest.importorskip("torch")
    from mvt_deploy.assets import asset
    from mvt_deploy.quantize.build import build_bundle
    from mvt_deploy.quantize.source import Int8Options

    return _kept(pytestconfig, asset("mvt.safetensors"), lambda place: build_bundle(None, place, int8=Int8Options()))


@pytest.fixture(scope="session")
def golden_network() -> MVT:
    """The network whose weights are made by the golden data's formula; tests must leave it as it is."""
    pytest.importorskip("torch")
    from mvt_deploy.network import MVT

    model = MVT().eval()
    model.load_state_dict(formula_weights({key: tuple(value.shape) for key, value in model.state_dict().items()}))
    return model


@pytest.fixture(scope="session")
def golden_checkpoint(golden_network: MVT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's weights as the authors publish theirs: beside objects of classes that only their code has."""
    import torch

    class Settings:
        pass

    Settings.__module__, Settings.__qualname__ = "lib.train.admin.settings", "Settings"
    module = types.ModuleType("lib.train.admin.settings")
    module.Settings = Settings  # type: ignore[attr-defined]
    path = tmp_path_factory.mktemp("golden") / "published.pth.tar"
    content = {"epoch": 300, "net_type": "MVT", "net": golden_network.state_dict(), "settings": Settings()}
    parents = [types.ModuleType(name) for name in ("lib", "lib.train", "lib.train.admin")]
    with pytest.MonkeyPatch.context() as patch:
        for part in (*parents, module):
            patch.setitem(sys.modules, part.__name__, part)
        torch.save(content, path)
    return path


@pytest.fixture(scope="session")
def golden_bundle(pytestconfig: pytest.Config, golden_checkpoint: Path) -> Path:
    """An fp32 bundle of the golden data's weights, kept like :func:`bundle`."""
    from mvt_deploy.export import export_bundle

    data = ROOT / "tests" / "golden.py"  # stands for the weights it makes
    return _kept(pytestconfig, data, lambda place: export_bundle(golden_checkpoint, place))


def _kept(config: pytest.Config, weights: Path, make: Callable[[Path], object]) -> Path:
    """A bundle in pytest's cache, made once for all workers while the weights and the exporting code are the same."""
    from filelock import FileLock

    from mvt_deploy.bundle import exists

    digest = hashlib.sha256(weights.read_bytes())
    package = ROOT / "mvt_deploy"
    makers = [path for folder in ("network", "export", "quantize") for path in sorted((package / folder).glob("*.py"))]
    for path in (*makers, *(package / f"{name}.py" for name in ("bundle", "crops", "geometry", "onnx_file"))):
        digest.update(path.read_bytes())
    assert config.cache is not None
    place = config.cache.mkdir("bundles") / digest.hexdigest()[:16] / "mvt"
    place.parent.mkdir(exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not exists(place):
            make(place)
    return place
