"""``mvt-deploy package``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model, ensure_model, say


def package(
    triton: Annotated[Path, typer.Option("--triton", metavar="DIR", help="Write a Triton model repository there.")],
    model: Model = None,
    platform: Annotated[
        str, typer.Option("--platform", help="onnx (ONNX Runtime) or tensorrt (engines built on the server's GPU).")
    ] = "onnx",
    precision: Annotated[str, typer.Option("--precision", help="fp32, fp16 or int8 (tensorrt).")] = "fp32",
    max_batch: Annotated[int, typer.Option("--max-batch", help="Most requests in one batch.")] = 64,
    instances: Annotated[int, typer.Option("--instances", help="Copies of each model that run at once.")] = 1,
    kind: Annotated[str, typer.Option("--kind", help="Where they run: gpu, cpu or auto.")] = "auto",
    delay: Annotated[int, typer.Option("--delay", help="Longest wait for a fuller batch, in microseconds.")] = 500,
    name: Annotated[str, typer.Option("--name", help="The models are NAME_template and NAME_search.")] = "mvt",
) -> None:
    """Package the bundle for serving many streams; prints the folders written."""
    from ..backends.tensorrt.triton import TritonOptions, write_repository
    from ..bundle import open_bundle

    options = TritonOptions(platform, precision, max_batch, instances, kind, delay, name)
    bundle = open_bundle(ensure_model(model))
    for folder in write_repository(bundle, triton, options):
        print(folder)
    say(f"start it with  tritonserver --model-repository={triton.resolve()}  (in NVIDIA's tritonserver container)")
