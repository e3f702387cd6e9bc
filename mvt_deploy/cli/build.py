"""``mvt-deploy build``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Model, ensure_model, say


def build(
    model: Model = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Engines of the fp16 graphs.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Engines of the int8 graphs.")] = False,
    max_batch: Annotated[int, typer.Option("--max-batch", help="Most targets an engine takes at once.")] = 64,
    flavour: Annotated[
        str | None, typer.Option("--flavour", help="tensorrt or tensorrt_rtx; default: what is installed and fits.")
    ] = None,
    compute_capability: Annotated[
        str | None, typer.Option("--compute-capability", help="tensorrt_rtx: for this GPU only, such as 8.9.")
    ] = None,
    level: Annotated[int | None, typer.Option("--level", help="Optimisation level, 0 to 5; default 3.")] = None,
    workspace: Annotated[int | None, typer.Option("--workspace", help="Limit of scratch memory, in MB.")] = None,
) -> None:
    """Compile the bundle's graphs into TensorRT engines (fp32 without --fp16 or --int8); prints the engine files."""
    from ..backends.tensorrt.build import BuildOptions, build_engines
    from ..backends.tensorrt.flavour import choose_builder
    from ..backends.tensorrt.machine import gpu_here
    from ..bundle import open_bundle
    from .bars import Bars

    options = BuildOptions(max_batch, level, compute_capability, workspace)
    gpu = gpu_here()
    chosen = choose_builder(flavour, gpu is not None)
    folder = ensure_model(model)
    bundle = open_bundle(folder)
    precisions = [p for p, asked in (("fp16", fp16), ("int8", int8)) if asked] or ["fp32"]
    for precision in precisions:
        with Bars() as bars:
            stored = build_engines(bundle, precision, chosen, gpu, options, bars)
        for engine in stored:
            size = engine.path.stat().st_size / 1e6
            say(f"  {engine.info.built_for}: {size:.1f} MB, {engine.info.build_seconds:.1f} s")
            print(engine.path)
