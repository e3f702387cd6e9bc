"""The page in a real Chromium: sources, drawing, results, and the outcome of everything that can go wrong."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mvt_deploy.geometry import iou
from mvt_deploy.video import demo

pytestmark = pytest.mark.slow

SECONDS = 1000  # Playwright counts milliseconds
PATIENCE = 120 * SECONDS  # the machine may be busy

Serve = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def server(site: Path, serve: Serve) -> Iterator[Any]:
    with serve(site) as server:
        yield server


@pytest.fixture(scope="module")
def context(chromium: Any, server: Any) -> Iterator[Any]:
    """A visitor who has been here before, so that the service worker is installed and everything is kept."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(server.url)
    ready(page)
    page.close()
    yield context
    context.close()


@pytest.fixture
def page(context: Any, server: Any) -> Iterator[Any]:
    """The page, with a tracker that is ready; a script error on it fails the test."""
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if "Content Security Policy" in m.text else None)
    page.goto(server.url)
    ready(page)
    yield page
    page.close()
    assert not problems


def ready(page: Any) -> None:
    page.wait_for_selector("#loading", state="hidden")
    assert not page.is_visible("#problem"), page.inner_text("#problem")


def choose(page: Any, kind: str) -> None:
    page.locator(f"[data-open={kind}]:visible").click()


def wait_for_frames(page: Any, count: int) -> None:
    """Until so many frames were tracked."""
    page.wait_for_function(
        "count => parseInt(document.querySelector('#recorded').textContent) >= count", arg=count, polling=50
    )


def wait_for_status(page: Any, text: str) -> None:
    page.wait_for_function("text => document.querySelector('#status').textContent.includes(text)", arg=text)


def on_screen(page: Any, box: tuple[float, ...]) -> tuple[float, float, float, float]:
    """The corners of a box of the picture, in pixels of the window."""
    bounds = page.locator("#overlay").bounding_box()
    width, height = page.evaluate("[picture.width, picture.height]")
    scale = min(bounds["width"] / width, bounds["height"] / height)
    left = bounds["x"] + (bounds["width"] - scale * width) / 2
    top = bounds["y"] + (bounds["height"] - scale * height) / 2
    x, y, w, h = box
    return left + scale * x, top + scale * y, left + scale * (x + w), top + scale * (y + h)


def draw(page: Any, box: tuple[float, ...]) -> None:
    """Draw a box with the mouse."""
    x1, y1, x2, y2 = on_screen(page, box)
    page.mouse.move(x1, y1)
    page.mouse.down()
    page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2)
    page.mouse.move(x2, y2)
    page.mouse.up()


def saved(page: Any, button: str) -> tuple[str, str]:
    """The name and the content of the file that a button offers."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text()


def steps(page: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in saved(page, "Save JSON lines")[1].splitlines()]


def clip_truth() -> list[tuple[float, ...]]:
    """The target's boxes in the sample clip, in its own pixels."""
    return [tuple(value / 2 for value in box) for _, box in demo.frames()][::2]


def test_the_first_visit(chromium: Any, server: Any) -> None:
    """Threads without any header of the host, the smallest graphs, a worker, and no request to anywhere else."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    ready(page)
    wait_for_status(page, "Ready")
    assert page.evaluate("crossOriginIsolated")
    threads = min(4, page.evaluate("navigator.hardwareConcurrency"))
    assert page.inner_text("#runs-on") == f"WASM, {threads} thread{'s' * (threads > 1)}, fp16-weights"
    assert any(worker.url.endswith("/worker.js") for worker in page.workers)
    assert {url[: len(server.url)] for url in asked if not url.startswith("blob:")} == {server.url}
    graphs = {url.rpartition("/")[2] for url in asked if ".onnx" in url}
    assert graphs == {"search.ort.fp16-weights.onnx.gz", "template.fp16-weights.onnx.gz"}  # only what is used
    assert page.locator(".private").inner_text() == "Runs on this device. No picture leaves it."
    context.close()


def test_the_sample_clip_is_followed_and_its_results_can_be_saved(page: Any) -> None:
    choose(page, "clip")
    wait_for_frames(page, 8)
    page.get_by_role("button", name="Pause").click()
    truth = clip_truth()
    lines = steps(page)
    assert [line["frame"] for line in lines] == list(range(len(lines)))  # a clip is not hurried: no frame is left out
    assert lines[1]["time"] == pytest.approx(1 / 15, abs=1e-3)
    assert all(line["seconds"] > 0 for line in lines[1:])
    overlaps = [float(iou(line["targets"][0]["box"], box)) for line, box in zip(lines, truth, strict=False)]
    assert np.mean(overlaps) > 0.7
    name, text = saved(page, "Save boxes")
    assert name == "sample.txt"
    boxes = [[float(value) for value in line.split(",")] for line in text.splitlines()]
    assert np.allclose(boxes, [line["targets"][0]["box"] for line in lines], atol=1e-9)
    for figure in ("#fps", "#p50", "#p95"):
        assert float(page.inner_text(figure).split()[0]) > 0
    assert page.inner_text("#skipped") == "0"


def test_targets_in_the_camera_are_drawn_added_redrawn_and_removed(page: Any) -> None:
    choose(page, "camera")
    wait_for_status(page, "Draw a box")
    page.wait_for_function("() => picture.width >= 320")
    draw(page, (60, 60, 90, 70))
    wait_for_status(page, "Following target 1")
    wait_for_frames(page, 3)
    page.get_by_label("A new box adds a target").check()
    draw(page, (200, 100, 60, 60))
    wait_for_status(page, "Following target 2")
    assert page.locator("#targets li").count() == 2
    wait_for_frames(page, 6)
    page.get_by_role("button", name="Remove target 1").click()
    page.get_by_label("A new box adds a target").uncheck()
    draw(page, (120, 80, 60, 60))
    wait_for_status(page, "Following target 3")  # in the place of target 2
    assert page.locator("#targets li").count() == 1
    lines = steps(page)
    seen = [[target["id"] for target in line["targets"]] for line in lines]
    assert seen[0] == [1]
    assert [1, 2] in seen
    assert any(3 in ids for ids in seen)
    assert lines[0]["targets"][0]["score"] == 1
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert saved(page, "Save boxes of 2")[0] == "camera_2.txt"
    page.wait_for_function("() => parseInt(skipped.textContent) > 0")  # this camera is faster than the network


def test_a_box_is_placed_with_the_keyboard(page: Any) -> None:
    choose(page, "clip")
    wait_for_frames(page, 1)
    page.get_by_role("button", name="Pause").click()
    page.locator("#overlay").focus()
    page.keyboard.press("Enter")
    assert "arrow keys" in page.inner_text("#spoken")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowRight")
    assert re.fullmatch(r"Box at \d+, \d+, \d+ by \d+ pixels\. ?", page.inner_text("#spoken"))
    x, y, w, h = map(int, re.findall(r"\d+", page.inner_text("#spoken")))
    assert (w > h, x < (480 - 67) / 2, y < (270 - 67) / 2) == (True, True, True)
    page.keyboard.press("Enter")
    wait_for_status(page, "Following target 2")
    drawn = next(target for line in steps(page) for target in line["targets"] if target["id"] == 2)
    assert drawn["box"] == pytest.approx([x, y, w, h], abs=1)
    page.locator("#overlay").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.inner_text("#spoken") == "Drawing was cancelled."
    assert page.locator("#targets li").count() == 1


def picture(page: Any) -> npt.NDArray[np.uint8]:
    """What the page shows under its overlay, BGR."""
    _, data = page.evaluate("document.querySelector('#picture').toDataURL()").split(",")
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(image, np.uint8)


def video(path: Path, count: int = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 15, (480, 270))
    assert writer.isOpened()
    for index, (image, _) in enumerate(demo.frames()):
        if index % 2 == 0:
            writer.write(cv2.resize(image, (480, 270), interpolation=cv2.INTER_AREA))
        if index >= 2 * count:
            break
    writer.release()
    return path


def test_a_video_file_waits_for_the_tracker_and_is_tracked_to_its_end(page: Any, tmp_path: Path) -> None:
    path = video(tmp_path / "ride.webm")
    page.locator("#file").set_input_files(path)
    wait_for_status(page, "Draw a box")
    assert page.evaluate("document.querySelector('#video').paused")  # until there is a target
    first = cv2.VideoCapture(str(path)).read()[1]
    assert np.abs(picture(page).astype(int) - first).mean() < 10  # levels: the browser decodes a little differently
    truth = clip_truth()
    draw(page, truth[0])
    wait_for_status(page, "The video has ended")
    lines = steps(page)
    assert len(lines) > 12, [line["time"] for line in lines]
    frames = [line["frame"] for line in lines]
    assert frames == sorted(set(frames))
    shown = [truth[round(line["time"] * 15)] for line in lines]
    overlaps = [float(iou(line["targets"][0]["box"], box)) for line, box in zip(lines, shown, strict=True)]
    assert np.mean(overlaps) > 0.6
    assert saved(page, "Save boxes")[0] == "ride.txt"
    page.get_by_role("button", name="Play").click()  # from the start, with a new box
    wait_for_status(page, "Draw a box")
    assert page.locator("#targets li").count() == 0


def test_a_file_that_is_no_video(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_bytes(b"these are no pictures" * 100)
    page.locator("#file").set_input_files(tmp_path / "notes.mp4")
    page.wait_for_selector("#problem:visible")
    assert "'notes.mp4' cannot be played by this browser: choose another file" in page.inner_text("#problem")
    choose(page, "clip")  # and everything else goes on working
    wait_for_frames(page, 2)
    assert not page.is_visible("#problem")


def test_a_file_that_breaks_off(page: Any, tmp_path: Path) -> None:
    path = video(tmp_path / "cut.webm")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    page.locator("#file").set_input_files(path)
    wait_for_status(page, "Draw a box")
    draw(page, clip_truth()[0])
    page.wait_for_function(
        "() => document.querySelector('#problem').textContent.includes('damaged from here on') || "
        "document.querySelector('#status').textContent.includes('The video has ended')"
    )
    assert steps(page)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "The camera is blocked: allow it"),
        ([], "There is no camera here: choose a video file"),
    ],
    ids=["denied", "none"],
)
def test_a_camera_that_cannot_be_had(launch: Any, server: Any, arguments: list[str], message: str) -> None:
    browser = launch(*arguments)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.url)
    page.wait_for_function("() => globalThis.crossOriginIsolated")
    choose(page, "camera")
    page.wait_for_selector("#problem:visible")
    assert message in page.inner_text("#problem")
    assert page.is_visible("#welcome")
    browser.close()


CANVAS_CAMERA = """
  const scene = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
  const paint = () => {
    const surface = scene.getContext("2d");
    surface.fillStyle = "#486";
    surface.fillRect(0, 0, scene.width, scene.height);
    surface.fillStyle = "#c30";  // an object that stays where it is, seen from the centre
    surface.fillRect(scene.width / 2 - 20, scene.height / 2 - 20, 40, 40);
    surface.fillStyle = "#fff";
    surface.fillRect(scene.width / 2 - 10, scene.height / 2 - 10, 12, 20);
    requestAnimationFrame(paint);
  };
  paint();
  globalThis.turnPhone = () => Object.assign(scene, { width: 240, height: 320 });
  const stream = scene.captureStream(15);
  globalThis.unplug = () => { for (const track of stream.getTracks()) track.dispatchEvent(new Event("ended")); };
  navigator.mediaDevices.getUserMedia = async () => stream;
"""


def camera_name(page: Any) -> str:
    """The label of the camera that plays, once there is one."""
    page.wait_for_function(
        "() => video.srcObject && !document.querySelector('#status').textContent.includes('Opening')"
    )
    name: str = page.evaluate("video.srcObject.getVideoTracks()[0].label")
    return name


def test_every_camera_of_a_desktop_can_be_chosen(launch: Any, server: Any) -> None:
    browser = launch("--use-fake-device-for-media-stream=device-count=3", "--use-fake-ui-for-media-stream")
    page = browser.new_page(service_workers="block")
    page.set_default_timeout(PATIENCE)
    page.goto(server.url)
    choose(page, "camera")
    seen = [camera_name(page)]
    for _ in range(3):
        page.locator("#switch").click()
        page.wait_for_function("name => video.srcObject?.getVideoTracks()[0].label !== name", arg=seen[-1])
        seen.append(camera_name(page))
    assert len(set(seen[:3])) == 3
    assert seen[3] == seen[0]
    browser.close()


PHONE_CAMERAS = """
  const asked = globalThis.asked = [];
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const { facingMode, deviceId } = wanted.video;
    asked.push(facingMode ?? "the next one");
    if (facingMode?.exact === gone) throw new OverconstrainedError("facingMode", "");
    const stream = await real({ video: true });
    const [track] = stream.getVideoTracks();
    const settings = track.getSettings();
    track.getSettings = () => ({ ...settings, facingMode: facingMode?.exact ?? facingMode?.ideal });
    return stream;
  };
  globalThis.gone = "";
"""


def test_a_phone_switches_between_rear_and_front_camera(launch: Any, server: Any) -> None:
    browser = launch("--use-fake-device-for-media-stream=device-count=2", "--use-fake-ui-for-media-stream")
    page = browser.new_page(service_workers="block")
    page.set_default_timeout(PATIENCE)
    page.add_init_script(PHONE_CAMERAS)
    page.goto(server.url)
    choose(page, "camera")
    camera_name(page)
    for count in (2, 3):
        page.locator("#switch").click()
        page.wait_for_function("count => asked.length === count", arg=count)
        camera_name(page)
    page.evaluate("gone = 'user'")  # as where the second camera does not say which way it looks
    page.locator("#switch").click()
    page.wait_for_function("() => asked.length === 5")
    assert page.evaluate("asked") == [
        {"ideal": "environment"},
        {"exact": "user"},
        {"exact": "environment"},
        {"exact": "user"},
        "the next one",
    ]
    browser.close()


def test_turning_the_phone_keeps_the_targets(page: Any) -> None:
    page.evaluate(CANVAS_CAMERA)
    choose(page, "camera")
    page.wait_for_function("() => picture.width === 320")
    draw(page, (140, 100, 40, 40))
    wait_for_frames(page, 3)
    page.evaluate("turnPhone()")
    page.wait_for_function("() => picture.width === 240 && picture.height === 320")
    assert page.inner_text("#status") == "The picture has turned; the targets are kept."
    count = len(steps(page))
    wait_for_frames(page, count + 2)
    target = steps(page)[-1]["targets"][0]
    x, y, w, h = target["box"]
    assert (x + w / 2, y + h / 2) == pytest.approx((120, 160), abs=12)
    assert target["state"] == "tracking"


def test_a_camera_that_goes_away(page: Any) -> None:
    page.evaluate(CANVAS_CAMERA)
    choose(page, "camera")
    page.wait_for_function("() => picture.width === 320")
    draw(page, (140, 100, 40, 40))
    wait_for_frames(page, 2)
    page.evaluate("unplug()")
    page.wait_for_selector("#problem:visible")
    assert "The camera went away: connect it and choose it again." in page.inner_text("#problem")
    assert len(steps(page)) >= 2  # what was tracked can still be saved


def test_a_page_in_the_background_pauses_and_goes_on(page: Any) -> None:
    choose(page, "camera")
    page.wait_for_function("() => picture.width >= 320")
    draw(page, (60, 60, 90, 70))
    wait_for_frames(page, 2)
    see = """hidden => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(see, True)
    assert page.inner_text("#status") == "Paused while the page was in the background."
    page.wait_for_timeout(1500)  # a frame that the worker has may still come back
    count = page.inner_text("#recorded")
    page.wait_for_timeout(1500)
    assert page.inner_text("#recorded") == count
    page.evaluate(see, False)
    assert page.inner_text("#status") == "Going on."
    wait_for_frames(page, int(count.split()[0]) + 2)


def test_without_a_network_after_the_first_visit(chromium: Any, site: Path, serve: Serve) -> None:
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    with serve(site) as server:
        page.goto(server.url)
        ready(page)
        choose(page, "clip")
        wait_for_frames(page, 2)
    page.goto("about:blank")
    page.goto(server.url)  # which answers no more
    ready(page)
    choose(page, "clip")
    wait_for_frames(page, 3)
    assert page.evaluate("fetch('manifest.json').then(() => 'answered', () => 'gone')") == "gone"
    context.close()


def test_the_page_can_be_installed(page: Any, context: Any) -> None:
    session = context.new_cdp_session(page)
    errors = [error["errorId"] for error in session.send("Page.getInstallabilityErrors")["installabilityErrors"]]
    assert errors in ([], ["in-incognito"])  # a window of a test is a private one
    found = session.send("Page.getAppManifest")
    assert found["errors"] == []
    assert json.loads(found["data"])["display"] == "standalone"


def test_without_a_service_worker_it_runs_on_one_thread(chromium: Any, server: Any) -> None:
    context = chromium.new_context(service_workers="block")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(server.url)
    ready(page)
    assert page.inner_text("#runs-on") == "WASM, 1 thread, fp16-weights"
    context.close()


def test_a_damaged_graph_is_not_used(chromium: Any, site: Path, serve: Serve, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    graph = copy / "model" / "template.fp16-weights.onnx.gz"
    shutil.copyfile(copy / "model" / "template.fp16.onnx.gz", graph)  # a graph, but not the one of the manifest
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    with serve(copy) as server:
        page.goto(server.url)
        page.wait_for_selector("#problem:visible")
        assert "model/template.fp16-weights.onnx.gz is not the one that this site was made with" in page.inner_text(
            "#problem"
        )
        shutil.copyfile(site / "model" / "template.fp16-weights.onnx.gz", graph)
        page.reload()  # mended: the damaged copy was not kept
        ready(page)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("width", "height"),
    [(1280, 800), (390, 844), (320, 568), (844, 390)],
    ids=["desktop", "phone", "small phone", "phone held sideways"],
)
def test_accessibility_and_layout(
    chromium: Any,
    context: Any,
    server: Any,
    npm_package: Callable[[str], Path],
    width: int,
    height: int,
    scheme: str,
    tmp_path: Path,
) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(server.url)
    axe = (npm_package("axe-core@4.14.1") / "axe.min.js").read_text()
    ready(page)
    for state in ("start", "tracking"):
        if state == "tracking":
            choose(page, "clip")
            wait_for_frames(page, 2)
            page.get_by_role("button", name="Pause").click()
            page.locator("summary").click()
        page.evaluate("scrollTo(0, 0)")
        page.evaluate(axe)
        found = page.evaluate("axe.run()")
        serious = [
            (rule["id"], [node["html"] for node in rule["nodes"]])
            for rule in found["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert serious == [], state
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for button in page.locator("button:visible").all():
            assert button.bounding_box()["height"] >= 44  # room for a finger
        assert page.locator("h1").bounding_box()["height"] < 40  # one line
        stage = page.locator(".stage").bounding_box()
        for button in page.locator("#welcome button:visible").all():
            bounds = button.bounding_box()
            assert bounds["y"] >= stage["y"]  # not cut off
            assert bounds["y"] + bounds["height"] <= stage["y"] + stage["height"]
        if overlay := page.locator("#overlay:visible").bounding_box() if state == "tracking" else None:
            assert overlay["y"] + overlay["height"] < height  # the picture is seen without scrolling
            toolbar = page.locator("#toolbar").bounding_box()
            assert toolbar["y"] + toolbar["height"] < height
    page.screenshot(path=tmp_path / "page.png")
    page.close()


def test_a_finger_draws_a_box(chromium: Any, server: Any) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(server.url)
    ready(page)
    choose(page, "camera")
    page.wait_for_function("() => picture.width >= 320")
    x1, y1, x2, y2 = on_screen(page, (60, 60, 90, 70))
    session = context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x1, "y": y1}]),
        ("touchMove", [{"x": (x1 + x2) / 2, "y": (y1 + y2) / 2}]),
        ("touchMove", [{"x": x2, "y": y2}]),
        ("touchEnd", []),
    ):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    wait_for_status(page, "Following target 1")
    box = steps(page)[0]["targets"][0]["box"]
    assert box == pytest.approx([60, 60, 90, 70], abs=3)
    context.close()
