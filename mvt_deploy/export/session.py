"""ONNX graphs as functions, for comparing and measuring them."""

from __future__ import annotations

from pathlib import Path

from ..backends.onnx_session import OnnxSession
from .parity import Runner


def runner(model: Path | bytes, *, fuse_qdq: bool = True, threads: int | None = None) -> Runner:
    """A graph as a function of named arrays, in ONNX Runtime on the CPU; inputs it does not have are ignored.

    Args:
        model: File or content of the graph.
        fuse_qdq: Whether the runtime may turn Q/DQ pairs into its own int8 operators; otherwise they are computed as
            written.
        threads: Number of CPU threads; None leaves the choice to the runtime.
    """
    return OnnxSession(model, threads=threads, fuse_qdq=fuse_qdq).run
