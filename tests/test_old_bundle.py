"""A bundle as version 0.1 wrote it, with graphs of next to no arithmetic: such bundles are read for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mvt_deploy import load
from mvt_deploy.backends.tensorrt.store import OptimizationProfile, find_engine, stored_engines
from mvt_deploy.bundle import open_bundle

OLD = Path(__file__).parent / "data" / "bundle-0.1"


def test_every_file_is_what_its_manifest_says() -> None:
    bundle = open_bundle(OLD)
    bundle.verify()
    assert bundle.manifest.format == 1
    assert bundle.manifest.tools["mvt-deploy"] == "0.1.0"
    assert bundle.search_sizes == (256,)


@pytest.mark.parametrize(("backend", "precision"), [("ort", "fp32"), ("ort", "int8"), ("openvino", "fp32")])
def test_it_answers_as_it_did(backend: str, precision: str) -> None:
    """Mean colours of two channels, summed over the three channels and weighted with 1 / 1000, as version 0.1 gave."""
    pytest.importorskip("openvino" if backend == "openvino" else "onnxruntime")
    random = np.random.default_rng(0)
    templates = random.integers(0, 256, (2, 128, 128, 3), np.uint8)
    searches = random.integers(0, 256, (2, 256, 256, 3), np.uint8)
    with load(OLD, backend, precision=precision) as model:
        found = model.search(searches, model.template(templates))
    np.testing.assert_allclose(found.box, np.repeat([[0.7632813], [0.7639427]], 4, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.score, [254.42708, 254.64757], rtol=1e-5)


def test_its_gate_and_calibration() -> None:
    bundle = open_bundle(OLD)
    (gate,) = bundle.manifest.gates
    assert (gate.candidate, gate.passed, gate.limit, gate.search_size) == ("ort cpu int8", True, 0.01, None)
    calibration = bundle.graphs("ort", "int8").search.calibration
    assert calibration is not None
    assert (calibration.method, calibration.kept) == ("percentile", ["/head/Conv"])


def test_its_engines(tmp_path: Path) -> None:
    """Sidecars of format 1 called the batch sizes of a profile least, best and most."""
    from mvt_deploy.backends.tensorrt.device import Gpu
    from mvt_deploy.backends.tensorrt.flavour import Flavour

    bundle = open_bundle(Path(shutil.copytree(OLD, tmp_path / "b")))
    engines = list(stored_engines(bundle))
    assert [e.info.role for e in engines] == ["search", "template"]
    assert engines[0].info.profiles == [OptimizationProfile(1, 1, 1), OptimizationProfile(1, 32, 64)]
    gpu, flavour = Gpu("Orin", "8.7", "540.4.0", "12.6", 1 << 33), Flavour("tensorrt", "10.3.0", None)
    for graph in bundle.graphs("tensorrt"):
        found, by = find_engine(bundle, graph, [flavour], gpu)
        assert found.path.read_bytes() == b"engine of " + graph.role.encode()
        assert by is flavour
