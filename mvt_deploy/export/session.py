"""A graph file as a function."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from .parity import Array, Runner


def runner(path: Path, fuse_qdq: bool = True) -> Runner:
    """A graph file as a function, in ONNX Runtime with its defaults.

    Args:
        path: the graph.
        fuse_qdq: let the runtime turn Q/DQ pairs into its own int8 operators; otherwise they are computed as written.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not fuse_qdq:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        wanted = {i.name for i in session.get_inputs()}
        return dict(zip(names, session.run(names, {k: v for k, v in inputs.items() if k in wanted}), strict=True))

    return run
