"""``mvt-deploy package``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Model, ensure_model, say


def package(
    triton: Annotated[
        Path | None, typer.Option("--triton", metavar="DIR", help="Write a Triton model repository there.")
    ] = None,
    web: Annotated[
        Path | None, typer.Option("--web", metavar="SITE", help="Write a static site that tracks in the browser there.")
    ] = None,
    mobile: Annotated[
        Path | None, typer.Option("--mobile", metavar="DIR", help="Write a package for Android and iOS apps there.")
    ] = None,
    model: Model = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="fp32, fp16 or int8; with --web also fp16-weights, which is fp32 with weights stored in fp16. "
            "Default: fp32 with --triton, fp16-weights with --web (fp32 without the package onnx).",
        ),
    ] = None,
    search_size: Annotated[
        int | None,
        typer.Option(
            "--search-size",
            help="With --web: side of the search crops in pixels; default: the default of the bundle.",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            "--runtime",
            metavar="DIR",
            help="With --web: unpacked npm package onnxruntime-web. Default: npm fetches it.",
        ),
    ] = None,
    platform: Annotated[
        str,
        typer.Option(
            "--platform", help="With --triton: onnx (ONNX Runtime) or tensorrt (engines built on the server's GPU)."
        ),
    ] = "onnx",
    max_batch: Annotated[
        int, typer.Option("--max-batch", help="With --triton: largest number of requests in one batch.")
    ] = 64,
    instances: Annotated[
        int, typer.Option("--instances", help="With --triton: number of copies of each model that run at once.")
    ] = 1,
    kind: Annotated[
        str, typer.Option("--kind", help="With --triton: where the models run: gpu, cpu or auto.")
    ] = "auto",
    delay: Annotated[
        int,
        typer.Option("--delay", help="With --triton: longest wait for a fuller batch, in microseconds."),
    ] = 500,
    name: Annotated[
        str, typer.Option("--name", help="With --triton: the models are named NAME_template and NAME_search.")
    ] = "mvt",
) -> None:
    """Package the bundle for where it will run: a Triton server, browsers, or apps. Prints the folders written."""
    from ..bundle import open_bundle
    from ..errors import UserError

    if sum(place is not None for place in (triton, web, mobile)) != 1:
        raise UserError(
            "name what to package for: --triton DIR (a server), --web SITE (browsers) or --mobile DIR (apps)."
        )
    if triton is not None:
        from ..backends.tensorrt.triton import TritonOptions, write_repository

        options = TritonOptions(platform, precision or "fp32", max_batch, instances, kind, delay, name)
        for folder in write_repository(open_bundle(ensure_model(model)), triton, options):
            print(folder)
        say(f"start it with  tritonserver --model-repository={triton.resolve()}  (in NVIDIA's tritonserver container)")
    if web is not None:
        from ..web import write_site

        bundle = open_bundle(ensure_model(model))
        parts = write_site(bundle, web, precision=precision, search_size=search_size, runtime=runtime, say=say)
        for part in parts:
            say(f"{part.what}: {part.download / 1e6:.1f} MB to download")
        print(web)
        say(f"try it with  python3 -m http.server --bind 127.0.0.1 --directory {web}  and open http://127.0.0.1:8000")
    if mobile is not None:
        from ..mobile import write_package

        for pair in write_package(open_bundle(ensure_model(model)), mobile, say):
            say(f"{pair.precision}, search crops of {pair.search_size} pixels: {pair.megabytes:.1f} MB")
        print(mobile)
        say(f"read {mobile / 'README.md'} first")
