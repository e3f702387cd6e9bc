"""The page's tracker and lost policy against the Python ones, with the same scripted network behind both."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_backend import Crops, FakeBackend, SearchResult

from mvt_deploy.tracker import LostPolicy, Tracker

RunModule = Callable[[str], Any]

SCRIPTED = """
import { Tracker, LOST_POLICY } from "PAGE/tracker.js";

const frame = (width, height, value = 90) =>
  ({ width, height, data: new Uint8ClampedArray(4 * width * height).fill(value) });

/** Answers with the next of the given rows: cx, cy, w, h, score; remembers what it was asked. */
function scripted(rows) {
  let at = 0;
  return {
    label: "scripted",
    spec: { templateSize: 128, templateFactor: 2, searchSize: 256, searchFactor: 4 },
    encoded: [],
    async template(crops, n) { this.encoded.push(n); return crops.slice(); },
    async search(crops, n, features) {
      if (crops.length !== n * 256 * 256 * 3 || features.length !== n * 128 * 128 * 3) throw new Error("sizes");
      const row = rows[at++];
      if (row === null) throw new Error("the network failed");
      const box = new Float32Array(4 * n);
      const score = new Float32Array(n);
      for (let i = 0; i < n; i++) { box.set(row.slice(0, 4), 4 * i); score[i] = row[4]; }
      return { box, score };
    },
    async close() {},
  };
}
"""


class Scripted(FakeBackend):
    """The same network in Python."""

    name = "scripted"

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = iter(np.asarray(rows, np.float32))

    def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
        row = next(self.rows)
        return SearchResult(np.tile(row[:4], (len(crops), 1)), np.repeat(row[4:], len(crops)))


def rows(seed: int, count: int = 80) -> list[list[float]]:
    """A target that wanders and changes its size; its score is low for long stretches."""
    random = np.random.default_rng(seed)
    boxes = random.normal((0.5, 0.5, 0.25, 0.25), (0.02, 0.02, 0.02, 0.02), (count, 4))
    low = np.sin(np.arange(count) / 8 + seed) > 0
    scores = np.where(low, random.uniform(0, 0.22, count), random.uniform(0.3, 0.9, count))
    rows: list[list[float]] = np.column_stack([boxes, scores]).astype(np.float32).astype(float).tolist()
    return rows  # float32 in both languages


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("policy", [LostPolicy(), None])
def test_boxes_and_states_are_those_of_the_python_tracker(
    run_module: RunModule, seed: int, policy: LostPolicy | None
) -> None:
    script = rows(seed)
    tracker = Tracker(Scripted(script), policy)
    frame = np.full((240, 320, 3), 90, np.uint8)
    tracker.init(frame, [(100.0, 80.0, 40.0, 50.0), (20.5, 30.25, 30.0, 22.0)])
    wanted = [tracker.update_all(frame) for _ in script]
    found = run_module(
        SCRIPTED
        + f"""
        const tracker = new Tracker(scripted({json.dumps(script)}), {"LOST_POLICY" if policy else "null"});
        await tracker.add(frame(320, 240), {{ x: 100, y: 80, w: 40, h: 50 }});
        await tracker.add(frame(320, 240), {{ x: 20.5, y: 30.25, w: 30, h: 22 }});
        const steps = [];
        for (let i = 0; i < {len(script)}; i++) steps.push(await tracker.update(frame(320, 240)));
        console.log(JSON.stringify(steps));
    """
    )
    assert policy is None or any(track.state == "lost" for tracks in wanted for track in tracks)
    for tracks, got in zip(wanted, found, strict=True):
        assert [track["id"] for track in got] == [1, 2]
        for track, other in zip(tracks, got, strict=True):
            assert other["state"] == track.state
            assert other["score"] == pytest.approx(track.score, abs=1e-7)
            assert [other["box"][side] for side in "xywh"] == pytest.approx(list(track.box), abs=1e-6)


def test_targets_come_and_go(run_module: RunModule) -> None:
    found = run_module(
        SCRIPTED
        + """
        const model = scripted(Array(9).fill([0.5, 0.5, 0.25, 0.25, 0.9]));
        const tracker = new Tracker(model);
        const picture = frame(320, 240);
        const box = { x: 100, y: 80, w: 40, h: 40 };
        const ids = [await tracker.add(picture, box), await tracker.add(picture, { ...box, x: 10 })];
        ids.push(await tracker.add(picture, { ...box, x: 200 }));
        await tracker.remove(2);
        const after = (await tracker.update(picture)).map(({ id }) => id);
        await tracker.clear();
        const none = await tracker.update(picture);
        const again = await tracker.add(picture, box);
        console.log(JSON.stringify({ ids, after, none, again, encoded: model.encoded }));
    """
    )
    assert found == {"ids": [1, 2, 3], "after": [1, 3], "none": [], "again": 1, "encoded": [1, 2, 3, 2, 1]}


def test_a_failure_of_the_network_leaves_the_targets_where_they_were(run_module: RunModule) -> None:
    found = run_module(
        SCRIPTED
        + """
        const row = [0.5, 0.5, 0.25, 0.25, 0.9];
        const tracker = new Tracker(scripted([null, row]));
        const picture = frame(320, 240);
        await tracker.add(picture, { x: 100, y: 80, w: 40, h: 40 });
        const failed = await tracker.update(picture).catch((error) => error.message);
        await tracker.use(scripted([row]));  // as after the loss of a graphics processor
        const [track] = await tracker.update(picture);
        console.log(JSON.stringify({ failed, box: track.box }));
    """
    )
    assert found == {"failed": "the network failed", "box": {"x": 100, "y": 80, "w": 40, "h": 40}}


def test_a_turned_picture_keeps_its_targets_at_their_distance_from_the_centre(run_module: RunModule) -> None:
    found = run_module(
        SCRIPTED
        + """
        const row = [0.5, 0.5, 0.25, 0.25, 0.9];
        const tracker = new Tracker(scripted([row, row]));
        await tracker.add(frame(320, 240), { x: 150, y: 120, w: 40, h: 40 });
        await tracker.update(frame(320, 240));
        const [track] = await tracker.update(frame(240, 320));
        console.log(JSON.stringify(track.box));
    """
    )
    assert found == {"x": 110, "y": 160, "w": 40, "h": 40}


def test_results_have_the_formats_of_the_command_line(run_module: RunModule) -> None:
    found = run_module("""
        import { Results } from "PAGE/results.js";
        const results = new Results();
        const track = (id, x, state = "tracking") =>
          ({ id, box: { x, y: 2.00049, w: 30, h: 40.5 }, score: 0.61234, state });
        results.record({ frame: 3, time: 0.1, seconds: 0, tracks: [track(1, 1)] });
        const tracks = [track(1, 1.5), track(2, 8, "lost")];
        results.record({ frame: 5, time: 0.16666666, seconds: 0.02512345, tracks });
        results.record({ frame: 3, time: 0.1, seconds: 0, tracks: [track(2, 7)] });  // drawn in the earlier picture
        console.log(JSON.stringify({ json: results.jsonLines(), boxes: [1, 2].map((id) => results.boxLines(id)),
          ids: results.ids() }));
    """)
    assert found["ids"] == [1, 2]
    assert found["boxes"] == [
        "1.000,2.000,30.000,40.500\n1.500,2.000,30.000,40.500\n",
        "7.000,2.000,30.000,40.500\n8.000,2.000,30.000,40.500\n",
    ]
    lines = [json.loads(line) for line in found["json"].splitlines()]
    assert [line["frame"] for line in lines] == [3, 5]
    assert lines[1] == {
        "frame": 5,
        "time": 0.1667,
        "seconds": 0.025123,
        "targets": [
            {"id": 1, "box": [1.5, 2.0, 30, 40.5], "score": 0.6123, "state": "tracking"},
            {"id": 2, "box": [8, 2.0, 30, 40.5], "score": 0.6123, "state": "lost"},
        ],
    }


def test_latency_percentiles_are_those_of_numpy(run_module: RunModule) -> None:
    seconds = np.random.default_rng(4).gamma(2, 0.03, 50)
    found = run_module(f"""
        import {{ Statistics }} from "PAGE/statistics.js";
        const statistics = new Statistics();
        const empty = [statistics.fps(), statistics.percentile(50)];
        {json.dumps(seconds.tolist())}.forEach((value, index) => statistics.add(40 * index, value));
        const [p50, p95] = [50, 95].map((percent) => statistics.percentile(percent));
        console.log(JSON.stringify({{ empty, fps: statistics.fps(), p50, p95 }}));
    """)
    assert found["empty"] == [None, None]
    assert found["fps"] == pytest.approx(25)
    assert found["p50"] == pytest.approx(1000 * np.percentile(seconds, 50))
    assert found["p95"] == pytest.approx(1000 * np.percentile(seconds, 95))
