"""The page in Firefox, driven by Marionette, the protocol that Firefox itself speaks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Serve = Callable[..., AbstractContextManager[Any]]
PATIENCE = 120  # seconds


class Firefox:
    """One window of a running Firefox."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._file = self._socket.makefile("rb")
        self._last = 0
        self._read()  # its greeting
        self.call("WebDriver:NewSession")

    def call(self, command: str, **parameters: Any) -> Any:
        self._last += 1
        message = json.dumps([0, self._last, command, parameters]).encode()
        self._socket.sendall(f"{len(message)}:".encode() + message)
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def evaluate(self, expression: str) -> Any:
        return self.call("WebDriver:ExecuteScript", script=f"return {expression}", args=[])["value"]

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true; the page may be loading itself again meanwhile."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self.evaluate(condition):
                    return
            except AssertionError:  # the page went away under the script
                pass
            time.sleep(0.2)
        pytest.fail(f"{condition} is not so: {self.evaluate('document.body.innerText')}")

    def open(self, url: str) -> None:
        self.call("WebDriver:Navigate", url=url)
        self.wait_for("document.querySelector('#loading')?.hidden && typeof crossOriginIsolated === 'boolean'")
        self.wait_for("document.querySelector('#runs-on').textContent !== 'loading'")

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> Any:
        length = b""
        while (byte := self._file.read(1)) != b":":
            assert byte, "Firefox hung up"
            length += byte
        return json.loads(self._file.read(int(length)))


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    """A headless Firefox with a profile of its own."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("Firefox is not installed")
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "user.js").write_text('user_pref("marionette.port", 0);\n')  # any free port, which it writes into a file
    process = subprocess.Popen(
        [path, "--headless", "--marionette", "--no-remote", "--profile", str(profile)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = profile / "MarionetteActivePort"
        end = time.monotonic() + PATIENCE
        while not (port.exists() and port.read_text().strip()):
            assert process.poll() is None, "Firefox ended"
            assert time.monotonic() < end, "Firefox did not start"
            time.sleep(0.2)
        browser = Firefox(int(port.read_text()))
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait(30)


def test_the_sample_clip_is_followed_and_the_page_works_without_a_network(
    firefox: Firefox, site: Path, serve: Serve
) -> None:
    with serve(site) as server:
        firefox.open(server.url)
        assert firefox.evaluate("crossOriginIsolated")
        threads = min(4, firefox.evaluate("navigator.hardwareConcurrency"))
        label = f"WASM, {threads} thread{'s' * (threads > 1)}, fp16-weights"
        assert firefox.evaluate("document.querySelector('#runs-on').textContent") == label
        firefox.evaluate("document.querySelector('#welcome [data-open=clip]').click()")
        firefox.wait_for("parseInt(document.querySelector('#recorded').textContent) >= 3")
        assert firefox.evaluate("document.querySelector('#targets .state').textContent") == "tracking"
        assert firefox.evaluate("document.querySelector('#problem').textContent") == ""
    firefox.call("WebDriver:Navigate", url="about:blank")
    firefox.open(server.url)  # which answers no more
    assert firefox.evaluate("document.querySelector('#runs-on').textContent") == label
