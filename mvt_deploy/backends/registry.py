"""Backends by name, each imported only when it is asked for."""

from __future__ import annotations

import os
from typing import Literal, get_args

from ..bundle import DEFAULT, open_bundle
from ..errors import BackendError, MissingExtra
from .base import Backend

Name = Literal["ort", "torch"]
NAMES: tuple[str, ...] = get_args(Name)
PRECISIONS = ("fp32", "fp16")


def load(
    model: str | os.PathLike[str] = DEFAULT,
    backend: str = "ort",
    *,
    precision: str = "fp32",
    threads: int | None = None,
) -> Backend:
    """Open a bundle with a backend.

    Args:
        model: the bundle's folder.
        backend: ``"ort"`` (ONNX Runtime) or ``"torch"`` (the reference).
        precision: ``"fp32"`` or ``"fp16"``; the torch backend has fp32 only.
        threads: CPU threads; None lets the runtime choose.

    Raises:
        BundleError: no bundle there, or it is damaged.
        BackendError: unknown backend or precision, or the runtime refuses the graphs.
        MissingExtra: the backend's packages are not installed.
    """
    if backend not in NAMES:
        raise BackendError(f"there is no backend '{backend}': choose one of {', '.join(NAMES)}.")
    if precision not in PRECISIONS:
        raise BackendError(f"there is no precision '{precision}': choose one of {', '.join(PRECISIONS)}.")
    if threads is not None and threads < 1:
        raise BackendError(f"--threads is a number of CPU threads, at least 1, not {threads}.")
    bundle = open_bundle(model)
    if backend == "torch":
        if precision != "fp32":
            raise BackendError("the torch backend is the fp32 reference: leave --precision out, or use --backend ort.")
        try:
            from .torch import TorchBackend
        except ImportError as error:
            raise MissingExtra("the torch backend", "export", error.name or "torch") from error
        return TorchBackend(bundle.checkpoint(), threads=threads)
    from .ort import OrtBackend

    return OrtBackend(bundle, precision, threads)
