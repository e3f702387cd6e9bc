"""A network camera (MJPEG over HTTP) that can be pulled out, fall silent, and change its picture."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from mvt_deploy.geometry import BGRImage


class Camera:
    """Serves its :attr:`picture` until it is told otherwise.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float = 50.0) -> None:
        self.fps = fps
        self.picture: BGRImage = np.full((120, 160, 3), 90, np.uint8)
        self.silent = False
        self.visitors = 0
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.pulled = threading.Event()
        self.plug_in()

    @property
    def url(self) -> str:
        """Where it streams; the same after it was pulled out."""
        return f"http://127.0.0.1:{self._port}/camera.mjpg"

    def plug_in(self) -> None:
        """Start to serve."""
        camera = self
        self.pulled.clear()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.visitors += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                while not camera.pulled.wait(1 / camera.fps):
                    if camera.silent:
                        continue
                    data = cv2.imencode(".jpg", camera.picture)[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + data + b"\r\n")
                    except OSError:
                        return

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        until = time.monotonic() + 10
        while True:
            try:
                self._server = Server(("127.0.0.1", self._port), Handler)
                break
            except OSError:  # the port is still being let go
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def pull_out(self) -> None:
        """Break every connection and accept none."""
        self.pulled.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.socket.close()
            self._server = None
