"""The judge of an export: every graph below fp32, over clips, against the bundle's own fp32 graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...backends.base import Backend
from ...backends.ort import OrtBackend
from ...backends.registry import load
from ...bundle import Bundle, Gate, SearchSize, open_bundle
from ...errors import MissingExtra
from ...progress import SILENT, Progress
from .clips import GateClip, rendered
from .trajectories import Trajectory, judge, run_candidate, track_clip


class Judge:
    """Judges precisions of one bundle; fp32 is tracked once, when it is first needed.

    Args:
        clips: What to track; None renders short clips from the shipped photographs.
        limits: Largest drop of AO that passes, by precision; a precision that is not named has its own limit, see
            :func:`~mvt_deploy.evaluation.gate.limits.limit_for`.
        threads: CPU threads of the network; None is the runtime's choice.
        progress: Receives the frames tracked.
    """

    def __init__(
        self,
        clips: Sequence[GateClip] | None = None,
        limits: Mapping[str, float] | None = None,
        threads: int | None = None,
        progress: Progress = SILENT,
    ) -> None:
        self.clips = rendered() if clips is None else clips
        self._limits, self._threads, self._progress = dict(limits or {}), threads, progress
        self._references: dict[Path, tuple[str, list[Trajectory]]] = {}
        self._frames = sum(clip.count for clip in self.clips)

    def __call__(self, folder: Path, precision: str, target: str, search_size: SearchSize = None) -> Gate:
        """Judge the graphs of one precision.

        OpenVINO runs its own graphs where it is installed; all others run in ONNX Runtime on the CPU, which computes
        what a graph says, whatever runtime it is meant for.

        Args:
            folder: Folder of the bundle.
            precision: Precision of the graphs.
            target: The runtime they were made for: ``portable``, ``ort``, ``openvino`` or ``tensorrt``.
            search_size: Side of the search crops, if it is not the default: a number of pixels, or ``"auto"``.

        Raises:
            UserError: The bundle lacks such graphs, or they do not run.
        """
        label, reference = self._reference(folder)
        graphs = open_graphs(open_bundle(folder), precision, target, self._threads, search_size)
        with (
            contextlib.closing(graphs) as candidate,
            self._progress.task(f"frames with {candidate.label}", 2 * self._frames) as frames,
        ):
            own, replayed = run_candidate(candidate, self.clips, reference, frames.advance)
        limit = self._limits.get(precision)
        return judge(
            label, reference, candidate.label, own, replayed, self.clips, precision, target, limit, search_size
        )

    def _reference(self, folder: Path) -> tuple[str, list[Trajectory]]:
        if folder not in self._references:
            with (
                contextlib.closing(load(folder, "ort", threads=self._threads)) as reference,
                self._progress.task(f"frames with {reference.label}", self._frames) as frames,
            ):
                tracked = [track_clip(reference, clip, frames.advance) for clip in self.clips]
                self._references[folder] = reference.label, tracked
        return self._references[folder]


def open_graphs(
    bundle: Bundle, precision: str, target: str, threads: int | None = None, search_size: SearchSize = None
) -> Backend:
    """Open a backend that runs one precision's graphs, made for a target, on this machine's CPU.

    Args:
        bundle: The bundle.
        precision: Precision of the graphs.
        target: The runtime they were made for.
        threads: CPU threads of the network; None is the runtime's choice.
        search_size: Side of the search crops: a number of pixels, ``"auto"`` for all sides, or None for the default.

    Raises:
        BundleError: The bundle has no such graphs.
        BackendError: They do not run.
    """
    if target == "openvino":
        with contextlib.suppress(MissingExtra):
            return load(bundle.folder, "openvino", precision=precision, threads=threads, search_size=search_size)
    return OrtBackend(bundle, "cpu", precision, threads, search_size=search_size, runtime=target)
