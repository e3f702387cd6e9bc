"""Several threads, several trackers on one model, and processes that fork."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mvt_deploy import Tracker, load
from mvt_deploy.backends.base import Backend
from mvt_deploy.errors import BackendError, UserError
from mvt_deploy.geometry import BGRImage, Box
from mvt_deploy.video import demo

pytestmark = pytest.mark.slow

KINDS = [("ort", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("torch", "fp32")]
Line = tuple[float, ...]


@pytest.fixture(scope="module")
def clip() -> tuple[list[BGRImage], Box]:
    pairs = list(demo.frames(7))
    return [image for image, _ in pairs], pairs[0][1]


@pytest.fixture(scope="module", params=KINDS, ids=["-".join(kind) for kind in KINDS])
def models(request: pytest.FixtureRequest, bundle: Path) -> Iterator[list[Backend]]:
    """Two models of a kind."""
    name, precision = request.param
    if name != "ort":
        pytest.importorskip(name)
    try:
        opened = [load(bundle, name, precision=precision) for _ in range(2)]
    except UserError as error:
        pytest.skip(str(error))
    yield opened
    for model in opened:
        model.close()


def follow(model: Backend, images: list[BGRImage], box: Box, shift: float = 0.0) -> list[Line]:
    """Box and score in every frame; ``shift`` makes another target of it."""
    tracker = Tracker(model)
    tracker.init(images[0], Box(box.x + shift, box.y, box.w, box.h))
    tracks = [tracker.update_all(image)[0] for image in images[1:]]
    return [(*track.box.as_tuple(), track.score) for track in tracks]


def test_many_trackers_on_one_model(models: list[Backend], clip: tuple[list[BGRImage], Box]) -> None:
    """Four trackers with targets of their own, in four threads at once: each finds what it finds alone."""
    images, box = clip
    shifts = [9.0 * i for i in range(4)]
    alone = [follow(models[0], images, box, shift) for shift in shifts[:2]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda shift: follow(models[0], images, box, shift), shifts))
    for a, b in zip(alone, together, strict=False):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-4)
    assert len({tuple(lines) for lines in together}) == 4  # nobody got another's answer


def test_two_models_in_two_threads(models: list[Backend], clip: tuple[list[BGRImage], Box]) -> None:
    images, box = clip
    alone = follow(models[0], images, box)
    with ThreadPoolExecutor(2) as pool:
        for lines in pool.map(lambda model: follow(model, images, box), models):
            np.testing.assert_allclose(lines, alone, rtol=0, atol=1e-4)


def _use(model: Backend, images: list[BGRImage], box: Box, answer: multiprocessing.SimpleQueue[str]) -> None:
    try:
        follow(model, images, box)
        answer.put("it ran")
    except BackendError as error:
        answer.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_after_loading_is_told(models: list[Backend], clip: tuple[list[BGRImage], Box]) -> None:
    """The child would wait for threads that stayed behind; the parent goes on as before."""
    images, box = clip
    before = follow(models[0], images[:3], box)
    context = multiprocessing.get_context("fork")
    answer: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    child = context.Process(target=_use, args=(models[0], images[:3], box, answer))
    child.start()
    child.join(60)
    alive = child.is_alive()
    if alive:
        child.kill()
    assert not alive
    assert "load it in the new process" in answer.get()
    assert follow(models[0], images[:3], box) == before
