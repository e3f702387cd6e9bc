"""The judge of an export: every graph below fp32, on clips, against the bundle's own fp32 graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...backends.base import Backend
from ...backends.ort import OrtBackend
from ...backends.registry import load
from ...bundle import Bundle, Gate, open_bundle
from ...errors import MissingExtra
from .clips import Clip, rendered
from .compare import Tick, Trajectory, follow, judge, tracked

Say = Callable[[str], None]


class Judge:
    """Judges precisions of one bundle; fp32 is tracked once, when it is first needed.

    Args:
        clips: what to track; None renders short ones from the shipped photographs.
        limits: the largest drop of AO that passes, by precision; what is not named has the precision's own.
        threads: CPU threads of the network, None for the runtime's choice.
        tick: told how many frames were tracked.
    """

    def __init__(
        self,
        clips: Sequence[Clip] | None = None,
        limits: Mapping[str, float] | None = None,
        threads: int | None = None,
        tick: Tick = lambda frames: None,
    ) -> None:
        self.clips = rendered() if clips is None else clips
        self._limits, self._threads, self._tick = dict(limits or {}), threads, tick
        self._wanted: dict[Path, tuple[str, list[Trajectory]]] = {}

    def __call__(self, folder: Path, precision: str, target: str) -> Gate:
        """Judge the graphs of a precision made for a target (``portable``, ``ort``, ``openvino`` or ``tensorrt``).

        OpenVINO runs its own graphs where it is installed; all others run in ONNX Runtime on the CPU, which computes
        what a graph says, whatever runtime it is meant for.

        Raises:
            UserError: the bundle lacks such graphs, or they do not run.
        """
        label, wanted = self._reference(folder)
        with contextlib.closing(open_graphs(open_bundle(folder), precision, target, self._threads)) as candidate:
            found = tracked(candidate, self.clips, wanted, self._tick)
            return judge(
                label, wanted, candidate.label, *found, self.clips, precision, target, self._limits.get(precision)
            )

    def _reference(self, folder: Path) -> tuple[str, list[Trajectory]]:
        if folder not in self._wanted:
            with contextlib.closing(load(folder, "ort", threads=self._threads)) as reference:
                tracked = [follow(reference, clip, self._tick) for clip in self.clips]
                self._wanted[folder] = reference.label, tracked
        return self._wanted[folder]


def open_graphs(bundle: Bundle, precision: str, target: str, threads: int | None = None) -> Backend:
    """A backend that runs a precision's graphs made for a target, on this machine's CPU."""
    if target == "openvino":
        with contextlib.suppress(MissingExtra):
            return load(bundle.folder, "openvino", precision=precision, threads=threads)
    own = _only(bundle, precision, target)
    backend = OrtBackend(own, "cpu", precision, threads, _as_written if target == "tensorrt" else _with_defaults)
    backend.label = f"ort cpu {precision}" + ("" if target in ("portable", "ort") else f" ({target} graphs)")
    return backend


def _only(bundle: Bundle, precision: str, target: str) -> Bundle:
    """The bundle as if the graphs for one target were its portable ones."""
    search = bundle.graph("search", precision, (target,))
    templates = {(g.precision, g.target): g for g in bundle.manifest.graphs if g.role == "template"}
    order = ((precision, target), (precision, "portable"), ("fp32", "portable"))
    template = next(templates[key] for key in order if key in templates)
    graphs = [replace(g, precision=precision, target="portable") for g in (template, search)]
    return Bundle(bundle.folder, replace(bundle.manifest, graphs=graphs))


def _as_written(options: Any) -> None:
    """ONNX Runtime's own int8 operators for fp16 Q/DQ pairs give wrong numbers."""
    options.add_session_config_entry("session.disable_quant_qdq", "1")


def _with_defaults(_options: Any) -> None:
    pass
