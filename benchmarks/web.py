"""Make ``benchmarks/results/web-<machine>.json``: ONNX Runtime Web in Chromium beside native ONNX Runtime.

python benchmarks/web.py [--model DIR] [--search-size N ...] [--runtime DIR] [--rounds N] [--results DIR]

For every precision and search size of the bundle, and for one and two threads, the browser and the native runtime take
turns on the same crops of one target; a ratio above 1 says how many times slower the browser is, its interval a
bootstrap over rounds. The browser's time is that of the page's own backend: from the crop to the box.

Needs Chromium, the Python package ``playwright``, and npm or ``--runtime``.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from reports import RESULTS, script, write_for_machine
from web_site import store_graphs

from mvt_deploy.backends.ort import OrtBackend
from mvt_deploy.bench.machine import describe
from mvt_deploy.bench.statistics import latency, ratio
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.crops import CropPairs, photograph_pairs
from mvt_deploy.errors import BundleError, UserError
from mvt_deploy.web import VERSION, write_site

THREADS = (1, 2)
TURN, WARM_UP = 4, 3  # searches in a turn and before the first one

OPEN = """async ({ choice, threads }) => {
  const { openSite } = await import("./bundle.js");
  const { loadRuntime, openBackend } = await import("./backend.js");
  const root = new URL("./", location.href);
  const site = await openSite(root);
  globalThis.ort ??= await loadRuntime(root, site, "wasm", threads, () => {});
  const backend = await openBackend(globalThis.ort, root, site, choice, () => {});
  const crops = new Uint8Array(await (await fetch(`crops-${choice.search_size}.bin`)).arrayBuffer());
  const template = crops.subarray(0, 3 * site.tracker.template_size ** 2);
  const search = crops.subarray(template.length);
  const features = await backend.template(template, 1);
  globalThis.turn = async (searches) => {
    const seconds = [];
    let answer;
    for (let i = 0; i < searches; i++) {
      const began = performance.now();
      answer = await backend.search(search, 1, features);
      seconds.push((performance.now() - began) / 1000);
    }
    return { seconds, answer: [...answer.box, ...answer.score] };
  };
  globalThis.done = () => backend.close();
}"""


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder with the headers that threads need."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def main(
    model: Annotated[Path | None, typer.Option(help="The bundle's folder; the default one if left out.")] = None,
    search_size: Annotated[
        list[int] | None, typer.Option(help="Side of the search crops in pixels, may be repeated; all if left out.")
    ] = None,
    runtime: Annotated[Path | None, typer.Option(help="Unpacked npm package onnxruntime-web.")] = None,
    rounds: Annotated[int, typer.Option(help="Number of turns of each side per row.")] = 8,
    results: Annotated[Path, typer.Option(help="Folder of the report.")] = RESULTS,
) -> None:
    """Measure the browser beside the native runtime."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise UserError("this script needs Chromium: install it with your system's package manager.")
    bundle = open_bundle(ensure_model(model))
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary) / "site"
        parts = write_site(bundle, folder, runtime=runtime, say=say)
        (folder / "blank.html").write_text("<!doctype html><title>blank</title>")
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        rows = []
        for threads in THREADS:
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/blank.html")
            for precision in ("fp32", "fp16", "int8"):
                for size in search_size or bundle.search_sizes:
                    if row := _row(bundle, folder, page, precision, size, threads, rounds):
                        rows.append(row)
                        say(_line(row))
            page.close()
        machine = describe()
        report = {
            "what": "one search of one target, from the crop to the box: Chromium's WASM beside native ONNX Runtime",
            "machine": machine,
            "browser": f"Chromium {browser.version}",
            "onnxruntime_web": VERSION,
            "rounds": rounds,
            "searches_per_turn": TURN,
            "megabytes": {part.what: round(part.download / 1e6, 2) for part in parts},
            "rows": rows,
        }
        browser.close()
        server.shutdown()
    write_for_machine(results, "web", report)


def _row(
    bundle: Bundle, folder: Path, page: Any, precision: str, size: int, threads: int, rounds: int
) -> dict[str, Any] | None:
    """Measure one precision and size; None where the bundle has no such graphs."""
    try:
        choice = store_graphs(bundle, folder, precision, size)
    except BundleError:
        return None
    pairs = photograph_pairs(1, search_size=size)
    (folder / f"crops-{size}.bin").write_bytes(pairs.template.tobytes() + pairs.search.tobytes())
    page.evaluate(OPEN, {"choice": choice, "threads": threads})
    native = OrtBackend(bundle, precision=precision, threads=threads, search_size=size)
    features = native.template(pairs.template)
    web_times, native_times = [], []
    _native_turn(native, pairs, features, WARM_UP)
    page.evaluate("turn", WARM_UP)
    answer: list[float] = []
    for _ in range(rounds):
        turn = page.evaluate("turn", TURN)
        web_times.append(turn["seconds"])
        answer = turn["answer"]
        native_times.append(_native_turn(native, pairs, features, TURN))
    found = native.search(pairs.search, features)
    page.evaluate("done()")
    native.close()
    slower = ratio(web_times, native_times)
    return {
        "precision": precision,
        "search_size": size,
        "threads": threads,
        "times_slower_than_native": asdict(slower),
        "browser_ms": asdict(latency([s for turn in web_times for s in turn])),
        "native_ms": asdict(latency([s for turn in native_times for s in turn])),
        "largest_difference": float(np.abs(np.array(answer) - [*found.box[0], found.score[0]]).max()),
    }


def _native_turn(backend: OrtBackend, pairs: CropPairs, features: Any, searches: int) -> list[float]:
    seconds = []
    for _ in range(searches):
        began = time.perf_counter()
        backend.search(pairs.search, features)
        seconds.append(time.perf_counter() - began)
    return seconds


def _line(row: dict[str, Any]) -> str:
    slower, web, native = row["times_slower_than_native"], row["browser_ms"]["median_ms"], row["native_ms"]["median_ms"]
    return (
        f"{row['precision']} {row['search_size']} {row['threads']} threads: {web:.0f} ms in the browser, "
        f"{native:.0f} ms native, {slower['value']:.2f} ({slower['low']:.2f} to {slower['high']:.2f}) times slower"
    )


if __name__ == "__main__":
    script(main)
