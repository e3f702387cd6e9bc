"""What the tests of the page share: Node.js, ONNX Runtime Web, a site, a server for it, and Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest

from mvt_deploy.bundle import open_bundle
from mvt_deploy.errors import UserError
from mvt_deploy.video import demo
from mvt_deploy.web import PACKAGE, find_runtime, write_site

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "mvt_deploy" / "web" / "page"
sys.path.append(str(ROOT / "benchmarks"))  # tests run the page's tracker as the scripts do: see its web_site.py

RunModule = Callable[[str], Any]


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js, as new as the scripts need it."""
    from web_site import find_node

    try:
        return find_node()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def run_module(node: str, tmp_path: Path) -> RunModule:
    """Run the text of an ES module, in which ``PAGE`` is the page's folder; returns the JSON it prints."""

    def run(text: str) -> Any:
        script = tmp_path / "script.mjs"
        script.write_text(text.replace("PAGE", PAGE.as_uri()), encoding="utf-8")
        done = subprocess.run([node, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def npm_package(pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """Unpack a package of the npm registry; kept between runs. Skips the test where npm cannot fetch it."""

    def fetch(package: str) -> Path:
        name, _, version = package.rpartition("@")
        place = Path(pytestconfig.cache.mkdir("npm")) / f"{name}-{version}"  # type: ignore[union-attr]
        if not (place / "package.json").is_file():
            npm = shutil.which("npm")
            if npm is None:
                pytest.skip("npm is not installed")
            place.mkdir(parents=True, exist_ok=True)
            done = subprocess.run([npm, "pack", package], cwd=place, capture_output=True, text=True, timeout=120)
            if done.returncode:
                pytest.skip(f"npm cannot fetch {package}: {done.stderr.strip().splitlines()[:1]}")
            archive = next(place.glob("*.tgz"))
            shutil.unpack_archive(archive, place, filter="data")
            shutil.copytree(place / "package", place, dirs_exist_ok=True)
            shutil.rmtree(place / "package")
            archive.unlink()
        return place

    return fetch


@pytest.fixture(scope="session")
def web_runtime(pytestconfig: pytest.Config) -> Path:
    """ONNX Runtime Web as the package fetches it; kept between runs."""
    place = Path(pytestconfig.cache.mkdir("npm")) / PACKAGE.replace("@", "-")  # type: ignore[union-attr]
    try:
        with find_runtime(place if place.is_dir() else None) as builds:
            if not place.is_dir():
                shutil.copytree(builds["wasm"].module.parent, place, ignore=shutil.ignore_patterns("*.tgz"))
    except UserError as error:
        pytest.skip(str(error))
    return place


@pytest.fixture(scope="session")
def site(bundle: Path, web_runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of the default bundle."""
    place = tmp_path_factory.mktemp("web") / "site"
    write_site(open_bundle(bundle), place, runtime=web_runtime)
    return place


class Server:
    """A static host without any header of its own, as the cheapest ones are."""

    def __init__(self, folder: Path, headers: dict[str, str]) -> None:
        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def end_headers(self) -> None:
                for name, value in headers.items():
                    self.send_header(name, value)
                super().end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.host = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.host.server_port}/"
        threading.Thread(target=self.host.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop answering: from now on the browser has no network, as far as this site goes."""
        self.host.shutdown()
        self.host.server_close()


Serve = Callable[..., Any]


@pytest.fixture(scope="session")
def serve() -> Serve:
    """Serve a folder until the block ends; ``headers`` are added to every answer."""

    @contextmanager
    def serving(folder: Path, headers: dict[str, str] | None = None) -> Iterator[Server]:
        server = Server(folder, headers or {})
        try:
            yield server
        finally:
            server.stop()

    return serving


@pytest.fixture(scope="session")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Chromium's camera sees: the rendered clip as Motion JPEG, 480x270."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with path.open("wb") as file:
        for image, _ in demo.frames(60):
            small = cv2.resize(image, (480, 270), interpolation=cv2.INTER_AREA)
            file.write(cv2.imencode(".jpg", small)[1].tobytes())
    return path


Launch = Callable[..., Any]


@pytest.fixture(scope="session")
def launch() -> Iterator[Launch]:
    """Start Chromium with further arguments; it is closed at the end of the session."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as running:

        def start(*arguments: str) -> Any:
            return running.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage", *arguments]
            )

        yield start


@pytest.fixture(scope="session")
def chromium(launch: Launch, camera_file: Path) -> Iterator[Any]:
    """Chromium with a camera that plays :func:`camera_file`; whoever asks may use it."""
    browser = launch(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera_file}",
    )
    yield browser
    browser.close()
