"""What the tests of the benchmark share: the baseline graph, exported once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def published_cache(bundle: Path, pytestconfig: pytest.Config) -> Path:
    """A cache folder, for ``XDG_CACHE_HOME``, that holds the published graph of the bundle's checkpoint."""
    from filelock import FileLock

    from mvt_deploy.bench.published import cached_graph
    from mvt_deploy.bundle import open_bundle

    assert pytestconfig.cache is not None
    folder = Path(pytestconfig.cache.mkdir("bench"))
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        cached_graph(open_bundle(bundle))
    return folder
