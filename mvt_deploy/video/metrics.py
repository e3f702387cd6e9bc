"""A running tracker over HTTP: ``/metrics`` for Prometheus, ``/healthz`` for whoever restarts services.

Needs the ``metrics`` extra.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, make_wsgi_app

from ..errors import SinkError
from ..version import __version__
from .events import fields
from .pipeline import Step
from .sources import Source

log = logging.getLogger("mvt_deploy.metrics")

LOOPBACK = "127.0.0.1"
STALE_SECONDS = 15.0
"""A run without a frame for longer than this is not healthy."""

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds
_CLIENT_SECONDS = 5  # a client that says nothing for longer is sent away


def parse_address(text: str) -> tuple[str, int]:
    """Host and port from ``[HOST:]PORT``; without a host only this machine can connect. Port 0 takes a free one.

    Raises:
        SinkError: The text is neither.
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]:|([^:\[\]]+):)?(\d{1,5})", text)
    if found is None or int(found[3]) > 65535:
        raise SinkError(f"--metrics is [HOST:]PORT, for instance 9464 or 0.0.0.0:9464, not '{text}'.")
    return found[1] or found[2] or LOOPBACK, int(found[3])


class MetricsSink:
    """Counts steps, and serves the counts until it is closed.

    Args:
        address: ``[HOST:]PORT``; port 0 takes a free one.
        source: The source that is tracked.
        backend: Name of the backend, with its provider and precision.
        stale_seconds: Time without a frame, in seconds, after which ``/healthz`` answers 503 instead of 200.

    Raises:
        SinkError: The address is wrong, or in use.
    """

    def __init__(self, address: str, source: Source, backend: str, stale_seconds: float = STALE_SECONDS) -> None:
        self._source = source
        self._stale_seconds = stale_seconds
        self._last: tuple[float, Step] | None = None  # when it came, on the monotonic clock
        self._lost: set[int] = set()
        self._dropped = self._reconnects = 0
        self._registry = CollectorRegistry()
        self._make_metrics(backend)
        self._prometheus = make_wsgi_app(self._registry)
        host, port = parse_address(address)
        try:
            self._server = make_server(host, port, self._answer, _server_class(host), _Handler)
        except OSError as error:
            raise SinkError(f"cannot serve metrics at '{address}' ({error.strerror}): choose another port.") from error
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()
        url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        log.info("serving %s/metrics and %s/healthz", url, url, extra=fields(url=url))

    def write(self, step: Step) -> None:
        """Count a step."""
        lost = {number for number, track in enumerate(step.tracks) if track.state == "lost"}
        self._frames.inc()
        if self._last is not None:  # the first frame only encodes the targets
            self._seconds.observe(step.seconds)
            self._network_seconds.observe(step.network_seconds)
        self._losses.inc(len(lost - self._lost))
        self._targets.labels("lost").set(len(lost))
        self._targets.labels("tracking").set(len(step.tracks) - len(lost))
        self._drops.inc(step.dropped - self._dropped)
        reconnects = self._source.reconnects
        self._returns.inc(reconnects - self._reconnects)
        self._lost, self._dropped, self._reconnects = lost, step.dropped, reconnects
        self._last = time.monotonic(), step

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def abort(self) -> None:
        """Stop serving; called where a run could not begin."""
        self.close()

    def _make_metrics(self, backend: str) -> None:
        registry = self._registry
        ProcessCollector(registry=registry)  # resident memory, descriptors, processor time
        Info("mvt_build", "What runs.", registry=registry).info(
            {"version": __version__, "backend": backend, "source": self._source.name}
        )
        self._frames = Counter("mvt_frames", "Frames tracked.", registry=registry)
        self._drops = Counter("mvt_dropped_frames", "Frames of a live source dropped to keep up.", registry=registry)
        self._returns = Counter("mvt_reconnects", "Times a live source went away and came back.", registry=registry)
        self._losses = Counter("mvt_target_losses", "Times a target was lost.", registry=registry)
        self._targets = Gauge("mvt_targets", "Targets by state.", ["state"], registry=registry)
        self._seconds = Histogram(
            "mvt_frame_seconds", "Crop, network and mapping back, per frame.", buckets=_BUCKETS, registry=registry
        )
        self._network_seconds = Histogram(
            "mvt_network_seconds", "The network alone, per frame.", buckets=_BUCKETS, registry=registry
        )
        Gauge("mvt_fps", "Frames per second lately; 0 while none comes.", registry=registry).set_function(self._fps)
        Gauge("mvt_healthy", "What /healthz says: 1 or 0.", registry=registry).set_function(
            lambda: float(self._health()["healthy"])
        )

    def _fps(self) -> float:
        return self._last[1].fps if self._last and self._health()["healthy"] else 0.0

    def _health(self) -> dict[str, Any]:
        last = self._last
        if last is None:
            return {"healthy": False, "why": "no frame was tracked yet"}
        age = time.monotonic() - last[0]
        about = {"frame": last[1].frame.index, "seconds_since_frame": round(age, 3)}
        if age > self._stale_seconds:
            return {"healthy": False, "why": f"no frame for more than {self._stale_seconds:g} s", **about}
        return {"healthy": True, "lost_targets": len(self._lost), **about}

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application; called in the server's threads."""
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            page: Iterable[bytes] = self._prometheus(environ, start_response)
            return page
        if path == "/healthz":
            health = self._health()
            start_response(
                "200 OK" if health["healthy"] else "503 Service Unavailable", [("Content-Type", "application/json")]
            )
            return [json.dumps(health).encode() + b"\n"]
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/metrics or /healthz\n"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server_class(host: str) -> type[_Server]:
    return _Server6 if ":" in host else _Server


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: every scrape would be a line."""
