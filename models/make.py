"""Make the bundle that the wheel carries: the default checkpoint's graphs for the base installation.

    python models/make.py build/bundle/mvt

It holds the fp32 graphs and ONNX Runtime's int8 graph, judged by its trajectories. fp16 graphs and the int8 graphs of
other runtimes need an extra anyway, whose user can export them. The same sources, tools and processor give the same
bytes if SOURCE_DATE_EPOCH is set.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from mvt_deploy.bundle import open_bundle, write_manifest
from mvt_deploy.evaluation.gate.judge import Judge
from mvt_deploy.process import set_torch_threads
from mvt_deploy.quantize.build import build_bundle
from mvt_deploy.quantize.source import Int8Options


def make(folder: Path) -> None:
    """Export the default checkpoint into ``folder``, and trim the bundle."""
    set_torch_threads(1)  # the manifest's figures then do not depend on the number of cores
    build_bundle(None, folder, int8=Int8Options(targets=["ort"]), judge=Judge())
    trim(folder)


def trim(folder: Path) -> None:
    """Remove what the base installation does not run; the rest is checked against its manifest."""
    manifest = open_bundle(folder).manifest
    graphs = [g for g in manifest.graphs if g.precision == "fp32" or (g.precision, g.target) == ("int8", "ort")]
    gates = [g for g in manifest.gates if (g.precision, g.target) == ("int8", "ort")]
    for file in {graph.file for graph in manifest.graphs} - {graph.file for graph in graphs}:
        (folder / file).unlink()
    write_manifest(folder, replace(manifest, graphs=graphs, gates=gates))
    open_bundle(folder).verify()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
