"""Options that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import bundle
from ..backends.base import Backend
from ..backends.registry import load
from . import logs

Model = Annotated[
    Path, typer.Option("--model", help="The bundle's folder; the default one is exported once if it is not there.")
]
BackendName = Annotated[
    str, typer.Option("--backend", help="ort (ONNX Runtime), openvino (OpenVINO itself), trt (TensorRT) or torch.")
]
Provider = Annotated[
    str, typer.Option("--provider", help="Of ort: cpu, openvino, cuda, or auto (the fastest that agrees with cpu).")
]
Precision = Annotated[
    str | None, typer.Option("--precision", help="fp32 (default), fp16 where the bundle holds it, or bf16 (OpenVINO).")
]
Device = Annotated[str, typer.Option("--device", help="Of torch: cpu (the reference) or cuda (fp16 and bf16 too).")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPU threads of the network; default: the runtime's choice.")
]


def ensure_model(model: Path) -> None:
    """Fill the default place with the default checkpoint's bundle if it is empty."""
    if model == bundle.DEFAULT and not bundle.exists(model):
        from ..export import ensure_bundle
        from .bars import Bars

        with Bars() as bars:
            ensure_bundle(model, bars)


def open_model(
    model: Path,
    backend: str,
    provider: str = "cpu",
    precision: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
) -> Backend:
    """Open a bundle; the default place is filled with the default checkpoint first if it is empty."""
    ensure_model(model)
    opened = load(model, backend, provider=provider, precision=precision, threads=threads, device=device)
    if provider == "auto":
        say(f"fastest here: {opened.label}")
    return opened


def say(message: str, **fields: object) -> None:
    """A line of progress, on stderr; the fields are for logs that machines read."""
    logs.info(message, fields)
