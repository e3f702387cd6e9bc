"""ONNX graphs as functions, for comparing and measuring them."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from .parity import Array, Runner


def open_session(
    model: Path | bytes, *, fuse_qdq: bool = True, threads: int | None = None
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        model: File or content of the graph.
        fuse_qdq: Let the runtime turn Q/DQ pairs into its own int8 operators; otherwise they are computed as written.
        threads: Number of CPU threads; None leaves the choice to the runtime.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    if not fuse_qdq:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def runner(model: Path | bytes, *, fuse_qdq: bool = True, threads: int | None = None) -> Runner:
    """A graph as a function of named arrays; inputs that the graph does not have are ignored.

    The arguments are those of :func:`open_session`.
    """
    session = open_session(model, fuse_qdq=fuse_qdq, threads=threads)
    inputs = {value.name for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]

    def run(given: dict[str, Array]) -> dict[str, Array]:
        wanted = {name: array for name, array in given.items() if name in inputs}
        return dict(zip(outputs, session.run(outputs, wanted), strict=True))

    return run
