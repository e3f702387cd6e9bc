"""Make ``benchmarks/results/web-paths-<machine>.json``: the paths of the page's tracker beside those of Python's.

python benchmarks/web_paths.py [CLIPS] [--clip NAME ...] [--rendered SEED ...] [--precision NAME ...] [--frames N]
    [--model DIR] [--search-size N] [--runtime DIR] [--results DIR]

For every precision, the page's own tracker runs in Node.js with ONNX Runtime Web, and Python's with the same graphs in
native ONNX Runtime, each on its own through the first frames of every clip, with one thread. Reported per clip, without
the first frame:

- the mean IoU of the two paths, and of each with the path of fp32 in native ONNX Runtime;
- the mean IoU of the native path with the native path at a lower optimisation level, as a measure of how much the
  precision's paths vary by themselves;
- AO against the ground truth of both.

With ``--precision``, a report of the same clips, weights and versions keeps its other rows. Needs Node.js, and npm or
``--runtime``.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer
from reports import RESULTS, machine_name, script, write_for_machine
from web_site import box_option, find_node, node_version, rendered_clip, store_graphs, track_in_node, write_frames

from mvt_deploy.backends.base import Backend, Crops, OpenOptions, SearchResult
from mvt_deploy.backends.onnx_session import Configure, OnnxSession
from mvt_deploy.bench.machine import describe
from mvt_deploy.bundle import Bundle, open_bundle
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.errors import UserError
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.gate.clips import GateClip, from_dataset
from mvt_deploy.geometry import Box, iou
from mvt_deploy.groundtruth import Boxes
from mvt_deploy.overlap import AO_RULE, average_overlap
from mvt_deploy.tracker import Tracker
from mvt_deploy.web import VERSION, write_site
from mvt_deploy.web.site import PRECISIONS

SEEDS = (7, 11)
"""Scenes that are rendered by default."""
REFERENCE = "fp32"


class SiteGraphs(Backend):
    """Runs the graphs of a site in native ONNX Runtime, on one thread.

    Args:
        bundle: The bundle that the site was written from.
        site: The site's folder.
        choice: What :func:`web_site.store_graphs` returned.
        configure: Called with the options of each session.
    """

    name = "site"

    def __init__(self, bundle: Bundle, site: Path, choice: dict[str, Any], configure: Configure | None = None) -> None:
        files = [site / choice[role]["file"] for role in ("template", "search")]
        super().__init__(bundle.manifest.tracker.at(choice["search_size"]), "cpu", choice["precision"], files)
        self._graphs = [OnnxSession(file, "cpu", self.precision, 1, configure=configure) for file in files]

    @classmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> SiteGraphs:
        raise NotImplementedError("a site's graphs are opened by their files")

    def _template(self, crops: Crops) -> Any:
        return self._graphs[0].run({"crop": crops})

    def _search(self, crops: Crops, features: Any, score_map: bool) -> SearchResult:
        found = self._graphs[1].run({"crop": crops, **features}, ("box", "score"))
        return SearchResult(found["box"], found["score"])

    def _close(self) -> None:
        self._graphs.clear()


def less_optimised(options: Any) -> None:
    """Leave out the extended optimisations, such as fused operators, which round elsewhere."""
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC


def follow(backend: Backend, clip: GateClip) -> Boxes:
    """Track a clip as the page does: with the default policy for lost targets. Returns boxes ``[count, 4]``."""
    with backend:
        tracker, boxes = Tracker(backend), [tuple(clip.truth[0])]
        for index, frame in enumerate(clip.frames()):
            if index == 0:
                tracker.init(frame, Box(*clip.truth[0].tolist()))
            else:
                boxes.append(tracker.update(frame).box.as_tuple())
    return np.array(boxes)


@dataclass(frozen=True)
class Runner:
    """Runs a precision's graphs over clips, in Node.js and natively.

    Attributes:
        bundle: The bundle.
        site: Folder of a site that was written from it.
        node: Path of Node.js.
        choice: Graphs of the precision, as they lie in the site.
    """

    bundle: Bundle
    site: Path
    node: str
    choice: dict[str, Any]

    def native(self, clip: GateClip, configure: Configure | None = None) -> Boxes:
        """The path of Python's tracker through a clip, ``[count, 4]``."""
        return follow(SiteGraphs(self.bundle, self.site, self.choice, configure), clip)

    def web(self, clip: GateClip) -> Boxes:
        """The path of the page's tracker through a clip, ``[count, 4]``."""
        target = [box_option(clip.truth[0])]
        shown = write_frames(list(clip.frames()), self.site / "clip.rgba")
        (path,) = track_in_node(self.node, self.site, choice=self.choice, threads=1, boxes=target, **shown)
        return np.array([clip.truth[0], *([step["box"][side] for side in "xywh"] for step in path)])


def compare(runner: Runner, clip: GateClip, reference: Boxes) -> dict[str, float]:
    """The figures of a precision in a clip; ``reference`` is the native path of fp32."""
    native = runner.native(clip)
    other = runner.native(clip, less_optimised)
    web = runner.web(clip)
    height, width = next(clip.frames()).shape[:2]

    def overlap(first: Boxes, second: Boxes) -> float:
        return round(float(iou(first[1:], second[1:]).mean()), 4)

    return {
        "iou_web_with_native": overlap(web, native),
        "iou_web_with_native_fp32": overlap(web, reference),
        "iou_native_with_native_fp32": overlap(native, reference),
        "iou_native_with_native_less_optimised": overlap(native, other),
        "ao_web": round(average_overlap(web, clip.truth, (width, height)) or 0.0, 4),
        "ao_native": round(average_overlap(native, clip.truth, (width, height)) or 0.0, 4),
    }


def summary(clips: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The figures of every clip, their means, and the lowest IoUs."""
    columns = {name: [figures[name] for figures in clips.values()] for name in next(iter(clips.values()))}
    return {
        "mean": {name: round(float(np.mean(values)), 4) for name, values in columns.items()},
        "lowest": {name: min(values) for name, values in columns.items() if name.startswith("iou")},
        "clips": clips,
    }


def kept_rows(file: Path, report: dict[str, Any]) -> dict[str, Any]:
    """The rows of an earlier report, if all else is as in the one that is being made."""
    if not file.is_file():
        return {}
    earlier: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    rows: dict[str, Any] = earlier.pop("rows", {})
    return rows if earlier == report else {}


def clips_of(seeds: list[int], folder: Path | None, names: list[str], frames: int) -> list[GateClip]:
    """The rendered clips, then those of a folder: all of them, or the named ones in their order."""
    found = [rendered_clip(seed, frames) for seed in seeds]
    if folder is not None:
        real = {clip.name: clip for clip in from_dataset(open_dataset(folder), frames)}
        if missing := [name for name in names if name not in real]:
            raise UserError(f"{folder} holds no clip '{missing[0]}': it holds {', '.join(real)}.")
        found += [real[name] for name in names or real]
    return found


def main(
    clips: Annotated[
        Path | None, typer.Argument(help="Folder of clips with ground truth, beside rendered ones.")
    ] = None,
    clip: Annotated[list[str] | None, typer.Option(help="Only this clip of the folder, may be repeated.")] = None,
    rendered: Annotated[list[int] | None, typer.Option(help="Seed of a rendered clip, may be repeated.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="Only this precision, may be repeated.")] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of a clip, the first ones.")] = 24,
    model: Annotated[Path | None, typer.Option(help="The bundle's folder; the default one if left out.")] = None,
    search_size: Annotated[int | None, typer.Option(help="Side of the search crops in pixels.")] = None,
    runtime: Annotated[Path | None, typer.Option(help="Unpacked npm package onnxruntime-web.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the report.")] = RESULTS,
) -> None:
    """Compare the page's paths with Python's."""
    if clip and clips is None:
        raise UserError("--clip names a clip of a folder: give the folder too.")
    precisions = precision or list(PRECISIONS)
    if unknown := [name for name in precisions if name not in PRECISIONS]:
        raise UserError(f"there is no precision '{unknown[0]}' for browsers: choose one of {', '.join(PRECISIONS)}.")
    node = find_node()
    bundle = open_bundle(ensure_model(model))
    chosen = clips_of(rendered or list(SEEDS), clips, clip or [], frames)
    report: dict[str, Any] = {
        "what": "paths of the page's tracker (Node.js, ONNX Runtime Web, WASM) beside those of native ONNX Runtime "
        "with the same graphs, one thread each, without the first frame",
        "ao": AO_RULE,
        "machine": describe(),
        "node": node_version(node),
        "onnxruntime_web": VERSION,
        "checkpoint": bundle.manifest.checkpoint.sha256,
        "search_size": search_size or bundle.manifest.tracker.search_size,
        "frames": {each.name: each.count for each in chosen},
    }
    rows = kept_rows(results / f"web-paths-{machine_name(report['machine'])}.json", report)
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary) / "site"
        write_site(bundle, site, precision=REFERENCE, search_size=search_size, runtime=runtime, say=say)
        runners = {
            name: Runner(bundle, site, node, store_graphs(bundle, site, name, search_size))
            for name in {REFERENCE, *precisions}
        }
        reference = {each.name: runners[REFERENCE].native(each) for each in chosen}
        for name in precisions:
            by_clip = {}
            for each in chosen:
                by_clip[each.name] = compare(runners[name], each, reference[each.name])
                say(f"{name}, {each.name}: IoU with native {by_clip[each.name]['iou_web_with_native']:.4f}")
            rows[name] = summary(by_clip)
            write_for_machine(results, "web-paths", {**report, "rows": rows})


if __name__ == "__main__":
    script(main)
