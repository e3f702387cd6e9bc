"""The same answers in the browser as in Python: whole trajectories, and WebGPU beside WASM."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from golden import CASES, SHARED
from web_paths import SiteGraphs
from web_site import TRACK, box_option, rendered_clip, store_graphs, write_frames

import mvt_deploy as mvt
from mvt_deploy.backends.base import Backend
from mvt_deploy.bundle import open_bundle
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.gate.clips import GateClip, from_dataset
from mvt_deploy.geometry import Box, iou
from mvt_deploy.web import write_site

pytestmark = pytest.mark.slow

Pixels = npt.NDArray[np.uint8]
Serve = Callable[..., AbstractContextManager[Any]]
FRAMES = 16
CLIPS = ("rendered 7", "rendered 11", "davis_dog")
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}

NOTE = """() => {
  globalThis.said = [];
  const status = document.querySelector("#status");
  new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
}"""
"""Keeps every message of the page from now on, however short it stands."""


@pytest.fixture(scope="module")
def host(site: Path, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the site and clips in it, and where it is served with the headers that threads need."""
    folder = tmp_path_factory.mktemp("host") / "site"
    shutil.copytree(site, folder)
    (folder / "blank.html").write_text("<!doctype html><title>blank</title>")
    with serve(folder, ISOLATED) as server:
        yield folder, server.url


def real(folder: Path) -> GateClip:
    """The first frames of a clip of a folder."""
    (clip,) = [clip for clip in from_dataset(open_dataset(folder.parent), FRAMES) if clip.name == folder.name]
    return clip


def track(
    chromium: Any, folder: Path, url: str, frames: list[Pixels], boxes: list[Box], precision: str = "fp32"
) -> Any:
    """Paths through BGR frames, one per box; each is tracked by itself with WASM."""
    choices = json.loads((folder / "site.json").read_text())["choices"]
    choice = next(choice for choice in choices if choice["precision"] == precision)
    page = chromium.new_page()
    page.goto(f"{url}blank.html")
    assert page.evaluate("crossOriginIsolated")
    options = {"choice": {**choice, "provider": "wasm"}, "threads": 2, "boxes": [box_option(box) for box in boxes]}
    found = page.evaluate(TRACK, {**options, **write_frames(frames, folder / "clip.rgba")})
    page.close()
    return found


def overlaps(
    chromium: Any, host: tuple[Path, str], native: Backend, shown: GateClip, precision: str
) -> tuple[list[float], bool]:
    """IoU of the page's path in every frame with that of a backend in Python, and whether all states are the same."""
    frames, box = list(shown.frames()), Box(*shown.truth[0].tolist())
    (path,) = track(chromium, *host, frames, [box], precision)
    with native:
        tracker = mvt.Tracker(native)
        tracker.init(frames[0], box)
        wanted = [tracker.update(frame) for frame in frames[1:]]
    same = [step["state"] for step in path] == [other.state for other in wanted]
    return [float(iou(list(step["box"].values()), other.box)) for step, other in zip(path, wanted, strict=True)], same


def clip_of(name: str, request: pytest.FixtureRequest) -> GateClip:
    if name.startswith("rendered"):
        return rendered_clip(int(name.split()[1]), FRAMES)
    return real(request.getfixturevalue("shared") / "sequences" / name)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("precision", ["fp32", "fp16-weights"])
def test_trajectories_are_those_of_the_same_graphs_in_python(
    chromium: Any, host: tuple[Path, str], bundle: Path, clip: str, precision: str, request: pytest.FixtureRequest
) -> None:
    opened = open_bundle(bundle)
    native: Backend
    if precision == "fp32":
        native = mvt.load(bundle, "ort")
    else:  # no bundle holds these graphs: they are made for the site
        native = SiteGraphs(opened, host[0], store_graphs(opened, host[0], precision))
    found, same_states = overlaps(chromium, host, native, clip_of(clip, request), precision)
    assert np.mean(found) >= 0.999, found
    assert same_states


def test_weights_in_half_precision_hardly_change_trajectories(
    chromium: Any, host: tuple[Path, str], bundle: Path, request: pytest.FixtureRequest
) -> None:
    """Beside fp32 in Python, in the mean over the clips.

    A path is not the same on every clip: a search window is cut at whole pixels, so a change of a box in the fourth
    decimal place now and then moves a window by a pixel, and the path leaves the other one there.
    """
    names = CLIPS if (SHARED / "sequences").is_dir() else CLIPS[:2]
    means = {}
    for name in names:
        found, same_states = overlaps(chromium, host, mvt.load(bundle, "ort"), clip_of(name, request), "fp16-weights")
        assert same_states, name
        means[name] = np.mean(found)
        if name.startswith("rendered"):  # on the real clip two cells nearly tie
            assert means[name] >= 0.98, found
    assert np.mean(list(means.values())) >= 0.98, means


def test_int8_follows_as_well_as_it_does_in_python(
    chromium: Any, bundle: Path, web_runtime: Path, serve: Serve, tmp_path: Path
) -> None:
    """Its rounding parts the paths of any two processors: what must not differ is how well they follow."""
    write_site(open_bundle(bundle), tmp_path / "site", runtime=web_runtime, precision="int8")
    (tmp_path / "site" / "blank.html").write_text("<!doctype html><title>blank</title>")
    clip = rendered_clip(7, FRAMES)
    frames, box = list(clip.frames()), Box(*clip.truth[0].tolist())
    with serve(tmp_path / "site", ISOLATED) as server:
        (path,) = track(chromium, tmp_path / "site", server.url, frames, [box], "int8")
    tracker = mvt.Tracker(mvt.load(bundle, "ort", precision="int8"))
    tracker.init(frames[0], box)
    native = [tracker.update(frame).box for frame in frames[1:]]
    found = [list(step["box"].values()) for step in path]
    here, there = (
        np.mean([iou(*pair) for pair in zip(boxes, clip.truth[1:], strict=True)]) for boxes in (found, native)
    )
    assert here >= there - 0.05


def test_boxes_are_the_golden_ones_within_a_tenth_of_a_pixel(
    chromium: Any, golden_bundle: Path, web_runtime: Path, serve: Serve, tmp_path: Path
) -> None:
    cases = [case for case in CASES if case.weights == "formula"]
    write_site(open_bundle(golden_bundle), tmp_path / "site", runtime=web_runtime)
    (tmp_path / "site" / "blank.html").write_text("<!doctype html><title>blank</title>")
    frame = cases[0].frame
    with serve(tmp_path / "site", ISOLATED) as server:
        found = track(chromium, tmp_path / "site", server.url, [frame, frame], [case.box for case in cases])
    for case, (step,) in zip(cases, found, strict=True):
        assert list(step["box"].values()) == pytest.approx(list(case.clipped), abs=0.1), str(case)


@pytest.fixture(scope="module")
def webgpu(launch: Any) -> Iterator[Any]:
    """Chromium with WebGPU computed by SwiftShader on the processor: it shows what works, not how fast."""
    browser = launch(
        "--enable-unsafe-webgpu",
        "--use-webgpu-adapter=swiftshader",
        "--enable-features=Vulkan",
        "--use-vulkan=swiftshader",
    )
    yield browser
    browser.close()


def test_the_loss_of_webgpu_moves_the_targets_to_wasm(
    webgpu: Any, web_runtime: Path, serve: Serve, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
    from tiny import tiny_bundle

    def shrink(models: dict[str, Any]) -> None:
        models["search"].graph.node[4].input[0] = "box"  # a score below 1, as the mean of the box's numbers

    # SwiftShader takes half a minute per search of MVT's graphs, and a moment for these.
    folder = tmp_path / "site"
    write_site(open_bundle(tiny_bundle(tmp_path / "tiny", shrink)), folder, runtime=web_runtime, precision="fp32")
    # A way to lose the device from the outside, as a reset of the driver would.
    worker = folder / "worker.js"
    worker.write_text(
        worker.read_text()
        + "\nself.addEventListener('message', async ({ data }) => {"
        + "\n  if (data === 'lose') (await tracker.model.ort.env.webgpu.device).destroy();\n});\n"
    )
    remote = folder / "remote.js"
    remote.write_text(remote.read_text().replace("this.last = 0;", "this.last = 0; globalThis.remote = this;", 1))
    context = webgpu.new_context()
    context.set_default_timeout(120_000)
    page = context.new_page()
    with serve(folder) as server:
        page.goto(server.url)
        page.wait_for_selector("#loading", state="hidden")
        assert page.inner_text("#runs-on").startswith("WASM")  # SwiftShader is no graphics processor ...
        assert "WebGPU: not used, it is imitated in software here. WASM, " in page.text_content("#facts")
        page.goto(f"{server.url}?runtime=webgpu")  # ... but it can be asked for
        page.wait_for_selector("#loading", state="hidden")
        assert not page.is_visible("#problem"), page.inner_text("#problem")
        assert page.inner_text("#runs-on") == "WebGPU, fp32"
        page.locator("#welcome [data-open=clip]").click()
        page.wait_for_function("() => parseInt(recorded.textContent) >= 2")
        page.locator("#play").click()  # paused, so that the clip lasts until the loss
        page.evaluate(NOTE)
        count = int(page.inner_text("#recorded").split()[0])
        page.evaluate("remote.worker.postMessage('lose')")
        page.locator("#play").click()
        page.wait_for_function("() => said.some((text) => text.includes('went away'))")
        assert page.inner_text("#runs-on").startswith("WASM")
        facts = page.text_content("#facts")
        assert facts.endswith(
            f"WebGPU, fp32: not used, the graphics processor went away. {page.inner_text('#runs-on')}."
        )
        assert page.input_value("#runtime") == "wasm"  # so that WebGPU can be chosen again
        page.wait_for_function("count => parseInt(recorded.textContent) >= count", arg=count + 3)
        assert page.locator("#targets li").count() == 1
    context.close()


CONVOLUTION = """async (crop) => {
  const { openSite } = await import("./bundle.js");
  const { loadRuntime, openBackend } = await import("./backend.js");
  const root = new URL("./", location.href);
  const site = await openSite(root);
  const pixels = new Uint8Array(await (await fetch(new URL(crop, root))).arrayBuffer());
  const scores = {};
  for (const provider of ["webgpu", "wasm"]) {
    const choice = site.choices.find((each) => each.provider === provider);
    const ort = await loadRuntime(root, site, provider, 1, () => {});
    const backend = await openBackend(ort, root, site, choice, () => {});
    const features = await backend.template(new Uint8Array(128 * 128 * 3), 1);
    scores[provider] = [...(await backend.search(pixels, 1, features)).score];
    await backend.close();
  }
  return scores;
}"""
"""Runs a crop through both providers' graphs of a site; gives the scores by provider."""


def test_webgpu_keeps_the_sigmoid_behind_a_convolution(
    webgpu: Any, web_runtime: Path, serve: Serve, tmp_path: Path
) -> None:
    """The head ends in a convolution, a sigmoid and a clamp; merged into one, the sigmoid is lost."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from onnx import helper, numpy_helper

    sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
    from tiny import tiny_bundle

    def end_like_the_head(models: dict[str, Any]) -> None:
        graph = models["search"].graph
        nodes = [
            helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[64, 64], strides=[64, 64]),
            helper.make_node("Conv", ["cells", "kernel"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["raw"]),
            helper.make_node("Clip", ["raw", "least", "most"], ["clamped"]),
            helper.make_node("ReduceMax", ["clamped", "cells_of"], ["score"], keepdims=0),
        ]
        constants = {
            "kernel": np.full((1, 3, 1, 1), 1e-3, np.float32),
            "least": np.float32(1e-4),
            "most": np.float32(1 - 1e-4),
            "cells_of": np.array([1, 2, 3]),
        }
        graph.node[4].output[0] = "mean"  # what gave the score before
        graph.node.extend(nodes)
        graph.initializer.extend(numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items())
        onnx.checker.check_model(models["search"])

    folder = tmp_path / "site"
    write_site(
        open_bundle(tiny_bundle(tmp_path / "tiny", end_like_the_head)), folder, runtime=web_runtime, precision="fp32"
    )
    (folder / "blank.html").write_text("<!doctype html><title>blank</title>")
    crop = np.full((256, 256, 3), 100, np.uint8)
    crop.tofile(folder / "crop.bin")
    page = webgpu.new_page()
    with serve(folder, ISOLATED) as server:
        page.goto(f"{server.url}blank.html")
        scores = page.evaluate(CONVOLUTION, "crop.bin")
    page.close()
    expected = 1 / (1 + np.exp(-0.3))  # three channels of 100, times 1e-3
    assert scores["wasm"] == pytest.approx([expected], abs=1e-5)
    assert scores["webgpu"] == pytest.approx([expected], abs=1e-5)
