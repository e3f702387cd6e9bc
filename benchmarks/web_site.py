"""What the scripts and the tests of the web page share: graphs of any precision in a site, and the page's tracker.

The tracker is the page's own: :data:`TRACK` imports the modules of the site and runs in a browser or in Node.js.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mvt_deploy.bundle import Bundle, GraphInfo
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.gate.clips import GateClip
from mvt_deploy.files import sha256
from mvt_deploy.geometry import BGRImage
from mvt_deploy.video import demo
from mvt_deploy.web.half_weights import store_weights_as_fp16
from mvt_deploy.web.site import HALF_WEIGHTS

OLDEST_NODE = 20
WIDTH, HEIGHT = 480, 270  # of rendered clips, in pixels

TRACK = """async ({ choice, threads, clip, width, height, boxes }) => {
  const { openSite } = await import("./bundle.js");
  const { loadRuntime, openBackend } = await import("./backend.js");
  const { Tracker } = await import("./tracker.js");
  const root = new URL("./", location.href);
  const site = await openSite(root);
  const ort = await loadRuntime(root, site, "wasm", threads, () => {});
  const backend = await openBackend(ort, root, site, choice, () => {});
  const pixels = new Uint8ClampedArray(await (await fetch(new URL(clip, root))).arrayBuffer());
  const bytes = 4 * width * height;
  const frames = Array.from({ length: pixels.length / bytes }, (_, index) =>
    ({ width, height, data: pixels.subarray(index * bytes, (index + 1) * bytes) }));
  const paths = [];
  for (const box of boxes) {
    const tracker = new Tracker(backend);
    await tracker.add(frames[0], box);
    const path = [];
    for (const frame of frames.slice(1)) path.push((await tracker.update(frame))[0]);
    paths.push(path);
  }
  await backend.close();
  return paths;
}"""
"""Tracks every box by itself through a clip of RGBA frames, with WASM; gives a list of the page's tracks per box."""

IN_NODE = """import {{ readFile }} from "node:fs/promises";
globalThis.location = {{ href: import.meta.url }};
globalThis.fetch = async (url) => new Response(await readFile(url)); // Node.js does not fetch files
const options = JSON.parse(await readFile(new URL("track.json", import.meta.url), "utf8"));
console.log(JSON.stringify(await ({track})(options)));
"""


def store_graphs(bundle: Bundle, site: Path, precision: str, search_size: int | None = None) -> dict[str, Any]:
    """Put a bundle's graphs for WASM into a site that was written with others.

    Args:
        bundle: The bundle.
        site: Folder of the site.
        precision: One of :data:`mvt_deploy.web.site.PRECISIONS`.
        search_size: Side of the search crops in pixels; None for the bundle's default.

    Returns:
        A ``Choice`` of the page's ``bundle.js``, as ``site.json`` would hold it.

    Raises:
        BundleError: The bundle holds no such graphs, or a file is damaged.
    """
    pair = bundle.graphs("ort", "fp32" if precision == HALF_WEIGHTS else precision, search_size)
    spec = bundle.manifest.tracker if search_size is None else bundle.manifest.tracker.at(search_size)

    def stored(graph: GraphInfo) -> dict[str, Any]:
        path = bundle.path(graph)
        place = site / "model" / f"{path.stem}.{precision}.onnx"
        if precision == HALF_WEIGHTS:
            place.write_bytes(store_weights_as_fp16(path.read_bytes()))
        else:
            shutil.copyfile(path, place)
        length = place.stat().st_size
        return {
            "file": place.relative_to(site).as_posix(),
            "sha256": sha256(place),
            "bytes": length,
            "download": length,
        }

    return {
        "provider": "wasm",
        "precision": precision,
        "template": stored(pair.template),
        "search": stored(pair.search),
        "search_size": spec.search_size,
        "search_factor": spec.search_factor,
    }


def rendered_clip(seed: int, count: int) -> GateClip:
    """A short clip of the demo's scene, at half its size and with every second frame.

    Args:
        seed: Of the scene.
        count: Number of frames.
    """
    images, boxes = zip(*[*demo.frames(2 * count, seed)][::2], strict=True)
    frames = [np.asarray(cv2.resize(i, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8) for i in images]
    truth = np.array([box.as_tuple() for box in boxes]) * WIDTH / demo.WIDTH
    return GateClip(f"rendered-{seed}", count, lambda: iter(frames), truth)


def write_frames(frames: Sequence[BGRImage], file: Path) -> dict[str, Any]:
    """Write BGR frames as :data:`TRACK` reads them; returns its options ``clip``, ``width`` and ``height``."""
    height, width = frames[0].shape[:2]
    opaque = np.full((height, width), 255, np.uint8)
    with file.open("wb") as rgba:
        for frame in frames:
            np.dstack([frame[..., ::-1], opaque]).tofile(rgba)
    return {"clip": file.name, "width": width, "height": height}


def box_option(box: Sequence[float]) -> dict[str, float]:
    """A box ``x, y, w, h`` as the page's modules take it."""
    return dict(zip("xywh", map(float, box), strict=True))


def find_node() -> str:
    """Find Node.js.

    Raises:
        UserError: It is not installed, or too old.
    """
    node = shutil.which("node")
    if node is None:
        raise UserError(f"Node.js is not installed: install version {OLDEST_NODE} or newer, and put `node` on PATH.")
    version = node_version(node)
    if int(version.split(".")[0]) < OLDEST_NODE:
        raise UserError(f"Node.js is {version}: install version {OLDEST_NODE} or newer.")
    return node


def node_version(node: str) -> str:
    """Return the version of a Node.js, such as ``20.19.2``."""
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip().lstrip("v")


def track_in_node(node: str, site: Path, **options: Any) -> list[list[dict[str, Any]]]:
    """Run :data:`TRACK` in Node.js, in a folder that holds a site.

    Args:
        node: Path of Node.js.
        site: The site's folder; files for the run are written into it.
        options: Of :data:`TRACK`.

    Raises:
        UserError: The script failed; the message is the last line that Node.js wrote.
    """
    (site / "package.json").write_text('{"type": "module"}\n', encoding="utf-8")  # its .js files are modules
    (site / "track.json").write_text(json.dumps(options), encoding="utf-8")
    script = site / "track.mjs"
    script.write_text(IN_NODE.format(track=TRACK), encoding="utf-8")
    done = subprocess.run([node, str(script)], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "Error" in line] or [f"exit code {done.returncode}"]
        raise UserError(f"the page's tracker failed in Node.js ({said[0].strip()}): is its version supported?")
    paths: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return paths
