"""Options that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import bundle
from ..backends.base import Backend
from ..backends.registry import load
from ..bundle import SearchSize
from ..default_bundle import default_bundle, default_folder
from ..errors import UserError
from . import logs

Model = Annotated[
    Path | None,
    typer.Option("--model", help="Folder of the bundle. Default: models/mvt here if it exists, else the shipped one."),
]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend", help="Runtime: ort (ONNX Runtime), openvino (OpenVINO), trt (TensorRT) or torch (PyTorch)."
    ),
]
Provider = Annotated[
    str,
    typer.Option(
        "--provider",
        help="Execution provider of ONNX Runtime: cpu, openvino, cuda, or auto (the fastest that agrees with cpu).",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="Arithmetic: fp32, fp16 or int8 where the bundle holds such graphs, or bf16 (OpenVINO, PyTorch on a GPU). "
        "Default: fp32; with trt, the precision of the engines that were built.",
    ),
]
Device = Annotated[
    str,
    typer.Option("--device", help="Device of PyTorch: cpu (the fp32 reference) or cuda (fp16 and bf16 too)."),
]
SearchSizeText = Annotated[
    str | None,
    typer.Option(
        "--search-size",
        metavar="N|auto",
        help="Side of the search crops in pixels, one of those the bundle holds, or auto: the tracker chooses it for "
        "every frame. Default: the bundle's, 256.",
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPU threads of the network. Default: the runtime's choice.")
]


def given(context: typer.Context, *names: str) -> list[str]:
    """Those of some options that the user typed, such as ``--backend``."""
    typed = [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    return ["--" + name.replace("_", "-") for name in typed]


def ensure_model(model: Path | None) -> Path:
    """The folder of the bundle to use.

    Args:
        model: The folder that was given; None is the default bundle, which is exported if it is nowhere yet.

    Raises:
        MissingExtra: The default bundle has to be exported, and the packages for that are not installed.
    """
    folder = default_bundle() if model is None else model
    if not bundle.exists(folder) and folder == default_folder():
        from ..export import export_bundle
        from .bars import Bars

        say(f"no bundle at {folder} yet: exporting the default checkpoint once")
        with Bars() as bars:
            export_bundle(None, folder, progress=bars)
    return folder


def parse_search_size(text: str | None) -> SearchSize:
    """The side of the search crops that ``--search-size`` gives: a number of pixels, ``"auto"``, or None.

    Raises:
        UserError: The text is something else.
    """
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UserError(f"--search-size is a side in pixels, such as 256, or auto, not '{text}'.")
    return int(text)


def open_model(
    model: Path | None,
    backend: str,
    provider: str = "cpu",
    precision: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    search_size: SearchSize = None,
) -> Backend:
    """Open a bundle; see :func:`ensure_model` for None, and :func:`mvt_deploy.load` for the rest."""
    opened = load(
        ensure_model(model),
        backend,
        provider=provider,
        precision=precision,
        threads=threads,
        device=device,
        search_size=search_size,
    )
    if provider == "auto":
        say(f"fastest here: {opened.label}")
    return opened


def say(message: str, **fields: object) -> None:
    """A line of progress, on stderr; the fields are for logs that machines read."""
    logs.info(message, fields)
