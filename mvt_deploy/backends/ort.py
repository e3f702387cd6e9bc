"""ONNX Runtime: the backend that runs everywhere, with the execution provider of the user's choice."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ..bundle import Bundle, SearchSize
from ..errors import BackendError
from .base import Backend, Crops, OpenOptions, SearchResult
from .onnx_session import Configure, OnnxSession

Features = dict[str, npt.NDArray[Any]]

_RUNTIMES = {"cpu": "ort", "openvino": "openvino", "cuda": "portable", "tensorrt-rtx": "tensorrt"}
"""Whose graphs a provider runs."""


class OrtBackend(Backend):
    """Runs a bundle's graphs in ONNX Runtime sessions.

    Args:
        bundle: An opened bundle.
        provider: ``"cpu"``, ``"cuda"``, or a plug-in: ``"openvino"`` or ``"tensorrt-rtx"`` (RTX GPUs).
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``; ``"bf16"`` with the OpenVINO provider.
        threads: CPU threads of a session; None lets the runtime choose (one per core).
        search_size: Side of the search crops in pixels, ``"auto"`` for all sides, or None for the bundle's default.
        runtime: Runtime whose graphs are run, of :data:`~mvt_deploy.bundle.RUNTIMES`; None for the provider's own.
        configure: Called with the options of each session last, to change what else the runtime can.

    Raises:
        BundleError: The bundle lacks such graphs, or a file is damaged.
        BackendError: The provider is not available here, or refuses a graph.
        MissingExtra: The provider's package is not installed.
    """

    name = "ort"

    def __init__(
        self,
        bundle: Bundle,
        provider: str = "cpu",
        precision: str = "fp32",
        threads: int | None = None,
        *,
        search_size: SearchSize = None,
        runtime: str | None = None,
        configure: Configure | None = None,
    ) -> None:
        if precision == "bf16" and provider != "openvino":
            raise BackendError(
                f"the provider {provider} has no bf16: take the provider openvino, or the precision fp32 or fp16."
            )
        self._foreign = runtime if runtime not in (None, "portable", _RUNTIMES[provider]) else ""
        runtime = runtime or _RUNTIMES[provider]
        sides = bundle.sizes_of(runtime, precision, search_size)
        pairs = {side: bundle.graphs(runtime, precision, side) for side in sides}
        spec = bundle.manifest.tracker.at(sides[0]) if len(sides) == 1 else bundle.manifest.tracker
        searches = {side: bundle.path(pair.search) for side, pair in pairs.items()}
        template = bundle.path(pairs[spec.search_size].template)
        super().__init__(spec, provider, precision, (template, *searches.values()), sides)

        def configured(options: Any) -> None:
            if len(sides) > 1:  # the threads of one session must not spin while another one computes
                options.add_session_config_entry("session.force_spinning_stop", "1")
            if configure is not None:
                configure(options)

        fuse_qdq = runtime != "tensorrt"
        # The template graph runs once per target: the CPU does it as fast as any provider would start up.
        self._template_session = OnnxSession(template, "cpu", precision, threads, configure=configured)
        self._sessions = {
            side: OnnxSession(path, provider, precision, threads, fuse_qdq=fuse_qdq, configure=configured)
            for side, path in searches.items()
        }

    @classmethod
    def open(cls, bundle: Bundle, options: OpenOptions) -> OrtBackend:
        return cls(
            bundle, options.provider, options.precision or "fp32", options.threads, search_size=options.search_size
        )

    @property
    def label(self) -> str:
        """Name, provider and precision, and whose graphs where they are another runtime's."""
        return super().label + (f" ({self._foreign} graphs)" if self._foreign else "")

    def _template(self, crops: Crops) -> Features:
        return self._template_session.run({"crop": crops})

    def _search(self, crops: Crops, features: Features, score_map: bool) -> SearchResult:
        outputs = ("box", "score", "score_map") if score_map else ("box", "score")
        found = self._sessions[crops.shape[1]].run({"crop": crops, **features}, outputs)
        return SearchResult(*(found[name] for name in outputs))

    def _close(self) -> None:
        self._sessions.clear()
        del self._template_session
