"""The metrics endpoint, scraped over HTTP as Prometheus does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from mvt_deploy import Track
from mvt_deploy.errors import SinkError
from mvt_deploy.geometry import Box
from mvt_deploy.video.metrics import MetricsSink, parse_address
from mvt_deploy.video.pipeline import Step
from mvt_deploy.video.sources import Frame, Source


class Camera(Source):
    """A source that nobody reads here."""

    name = "camera 0"

    def __iter__(self) -> Iterator[Frame]:
        return iter(())


def step(index: int, *states: str, dropped: int = 0, seconds: float = 0.03) -> Step:
    tracks = tuple(Track(Box(1, 2, 3, 4), 0.5, state) for state in states)  # type: ignore[arg-type]
    return Step(Frame(index, index / 30, np.zeros((8, 8, 3), np.uint8)), tracks, seconds, 0.02, 25.0, dropped)


def scrape(port: int) -> dict[str, float]:
    """Every sample by name and labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {s.name + "".join(f",{k}={v}" for k, v in sorted(s.labels.items())): s.value for s in samples}


def health(port: int) -> tuple[int, dict[str, object]]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def test_counts_as_prometheus_sees_them() -> None:
    source = Camera()
    sink = MetricsSink("0", source, "ort cpu fp32")
    try:
        assert health(sink.port)[0] == 503  # nothing was tracked yet
        assert scrape(sink.port)["mvt_fps"] == 0
        sink.write(step(0, "tracking", "tracking", seconds=0.4))
        sink.write(step(1, "lost", "tracking", dropped=2))
        source.reconnects = 1
        sink.write(step(4, "lost", "lost", dropped=7, seconds=0.06))
        found = scrape(sink.port)
        assert found["mvt_frames_total"] == 3
        assert found["mvt_dropped_frames_total"] == 7
        assert found["mvt_reconnects_total"] == 1
        assert found["mvt_target_losses_total"] == 2
        assert (found["mvt_targets,state=lost"], found["mvt_targets,state=tracking"]) == (2, 0)
        assert found["mvt_frame_seconds_count"] == 2  # the first frame encodes the template: not a latency
        assert found["mvt_frame_seconds_sum"] == pytest.approx(0.09)
        assert (found["mvt_frame_seconds_bucket,le=0.033"], found["mvt_frame_seconds_bucket,le=0.1"]) == (1, 2)
        assert (found["mvt_fps"], found["mvt_healthy"]) == (25, 1)
        assert "ort cpu fp32" in next(name for name in found if name.startswith("mvt_build_info"))
        status, about = health(sink.port)
        assert (status, about["frame"], about["lost_targets"]) == (200, 4, 2)
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{sink.port}/", timeout=10)
    finally:
        sink.close()
    with pytest.raises(OSError, match="refused"):
        urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=10)


def test_a_run_without_frames_is_not_healthy() -> None:
    sink = MetricsSink("0", Camera(), "ort", stale_seconds=0.05)
    try:
        sink.write(step(0, "tracking"))
        time.sleep(0.1)
        status, about = health(sink.port)
        assert (status, about["healthy"]) == (503, False)
        assert scrape(sink.port)["mvt_fps"] == 0
    finally:
        sink.close()


def test_addresses() -> None:
    assert parse_address("9464") == ("127.0.0.1", 9464)  # others must be let in by name
    assert parse_address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert parse_address("[::1]:80") == ("::1", 80)
    for wrong in ("", "port", "host:", "1:2:3", "70000"):
        with pytest.raises(SinkError, match="HOST"):
            parse_address(wrong)
    sink = MetricsSink("0", Camera(), "ort")
    with pytest.raises(SinkError, match="choose another port"):
        MetricsSink(str(sink.port), Camera(), "ort")
    sink.abort()
