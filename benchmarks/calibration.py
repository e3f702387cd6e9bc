"""Compare the ways to choose activation ranges: what each costs box and score on clips they were not measured on.

python benchmarks/calibration.py CLIPS [--model DIR] [--target ort] [--results DIR]

Writes ``benchmarks/results/int8.json``: method to errors of the whole int8 graph against its floating-point graph, on
crops recorded along the fp32 tracker's path through the clips.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from reports import RESULTS, script, write_json

from mvt_deploy import load
from mvt_deploy.assets import asset
from mvt_deploy.bench.machine import describe
from mvt_deploy.bundle import DEFAULT, open_bundle
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.crops import CropPairs
from mvt_deploy.quantize.placement import rule
from mvt_deploy.quantize.qdq import quantize
from mvt_deploy.quantize.ranges import METHODS
from mvt_deploy.quantize.record import ClipTarget, record
from mvt_deploy.quantize.sensitivity import Probe
from mvt_deploy.quantize.source import Int8Options, open_quantization_source
from mvt_deploy.video.sources import open_source
from mvt_deploy.video.targets import choose_targets


def main(
    clips: Annotated[Path, typer.Argument(help="Folder of clips with ground truth.")],
    model: Annotated[Path, typer.Option(help="Folder of the bundle.")] = DEFAULT,
    target: Annotated[str, typer.Option(help="Runtime that the int8 graph is made for.")] = "ort",
    pairs: Annotated[int, typer.Option(help="Number of pairs of crops to compare on.")] = 72,
    results: Annotated[Path, typer.Option(help="Folder that the results are written to.")] = RESULTS,
) -> None:
    """Compare percentile, MinMax and entropy."""
    ensure_model(model)
    bundle = open_bundle(model)
    targets = []
    folders = sorted(path.parent for path in clips.glob("*/groundtruth.txt"))
    for folder in folders:
        source = open_source(folder / "img" if (folder / "img").is_dir() else folder)
        targets.append(ClipTarget(source, choose_targets(source).boxes[0]))
    recorded = record(load(model), targets, pairs)
    crops = CropPairs(np.stack([r.template for r in recorded]), np.stack([r.search for r in recorded]))
    errors = {}
    with TemporaryDirectory() as copy:  # ranges are stored beside their crops; only the default method's are shipped
        shutil.copytree(asset("calibration"), copy, dirs_exist_ok=True)
        store = Int8Options(Path(copy)).open_store()
        for method in METHODS:
            made_from = open_quantization_source(bundle, target, method, store)
            probe = Probe(made_from.template_file, made_from.model, crops, fuse_qdq=rule(target).fuse_qdq)
            error = probe.error(method, quantize(made_from.model, made_from.ranges, target))
            errors[method] = {k: v for k, v in asdict(error).items() if k not in ("name", "operator")}
            say(f"{method}: box {error.box_mean:.4f} (95 %: {error.box_p95:.4f}), score {error.score_mean:.4f}")
    report = {
        "made_by": "benchmarks/calibration.py",
        "checkpoint": bundle.manifest.checkpoint.sha256,
        "target": target,
        "clips": [folder.name for folder in folders],
        "pairs": len(recorded),
        "machine": describe(),
        "errors": errors,
    }
    path = results / "int8.json"
    write_json(path, report)
    print(path)


if __name__ == "__main__":
    script(main)
