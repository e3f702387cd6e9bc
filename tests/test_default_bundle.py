"""Where the default bundle is: a clone's models folder, or the user's cache, filled from the wheel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import mvt_deploy as mvt
from mvt_deploy import assets
from mvt_deploy.bundle import open_bundle
from mvt_deploy.default_bundle import CACHE, default_bundle, default_folder
from mvt_deploy.errors import BundleError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, with an empty folder as the current one."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE, str(folder))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


@pytest.fixture
def wheel(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as a wheel has it: with a ready bundle in its data folder."""
    data = tmp_path / "data"
    shutil.copytree(bundle, data / "bundle", copy_function=os.link)
    monkeypatch.setattr(assets, "PACKAGED", data)
    return data / "bundle"


def test_load_without_a_folder_opens_what_the_wheel_carries(wheel: Path, cache: Path) -> None:
    model = mvt.load()
    model.close()
    assert default_bundle() == default_folder()
    assert default_bundle().parent.parent == cache
    assert default_bundle().name == "mvt"  # reports and runs are named after it
    open_bundle(default_bundle()).verify()
    assert not list(Path().iterdir())
    assert list(cache.iterdir()) == [default_bundle().parent]


def test_an_update_does_not_meet_the_earlier_bundle(wheel: Path, cache: Path) -> None:
    earlier = default_bundle()
    manifest = wheel / "manifest.json"
    content = manifest.read_text(encoding="utf-8").replace('"name": "mvt"', '"name": "newer"')
    manifest.unlink()  # a link to the file that other tests use
    manifest.write_text(content, encoding="utf-8")
    assert default_bundle() != earlier
    assert open_bundle(default_bundle()).manifest.name == "newer"


def test_a_cache_that_cannot_be_written(wheel: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert default_bundle() == wheel
    mvt.load().close()


def test_a_bundle_here_comes_first(wheel: Path, bundle: Path, cache: Path) -> None:
    shutil.copytree(bundle, "models/mvt", copy_function=os.link)
    assert default_bundle() == Path("models/mvt")
    assert not cache.exists()


def test_a_clone_keeps_its_bundle_in_models(cache: Path) -> None:
    Path("models").mkdir()
    Path("models/mvt.safetensors").touch()
    assert default_folder() == Path("models/mvt")


def test_no_bundle_anywhere(cache: Path) -> None:
    with pytest.raises(BundleError, match="make one with  mvt-deploy export"):
        mvt.load()
