"""Backends by name, each imported only when it is asked for."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from ..bundle import Bundle, SearchSize, open_bundle
from ..default_bundle import default_bundle
from ..errors import BackendError, MissingExtra
from .base import Backend, OpenOptions


@dataclass(frozen=True, slots=True)
class Entry:
    """What the registry knows of a backend without importing it.

    Attributes:
        classes: By device, the module in this package and the class in it, as ``"module:Class"``.
        extra: Optional dependency group that holds its packages; empty for those that are always installed.
        providers: Execution providers to choose from; none where the runtime has no such choice.
        precisions: Precisions it may run; which of them it does run depends on provider, device, bundle and machine.
    """

    classes: Mapping[str, str]
    extra: str
    providers: tuple[str, ...]
    precisions: tuple[str, ...]


BACKENDS: dict[str, Entry] = {
    "ort": Entry(
        {"cpu": "ort:OrtBackend"}, "", ("cpu", "openvino", "cuda", "tensorrt-rtx"), ("fp32", "fp16", "bf16", "int8")
    ),
    "openvino": Entry({"cpu": "openvino:OpenVinoBackend"}, "openvino", (), ("fp32", "fp16", "bf16", "int8")),
    "trt": Entry({"cpu": "tensorrt.runner:TensorRtBackend"}, "trt", (), ("fp32", "fp16", "int8")),
    "torch": Entry(
        {"cpu": "torch:TorchBackend", "cuda": "torch_cuda:TorchCudaBackend"}, "export", (), ("fp32", "fp16", "bf16")
    ),
}
"""Every backend; a new one is a file in this package with a :class:`Backend` in it, and an entry here."""

AUTO = "auto"
"""Provider that stands for the fastest runtime of the CPU whose answers are right."""
NAMES = tuple(BACKENDS)
PROVIDERS = (*dict.fromkeys(provider for entry in BACKENDS.values() for provider in entry.providers), AUTO)
DEVICES = tuple(dict.fromkeys(device for entry in BACKENDS.values() for device in entry.classes))
PRECISIONS = tuple(dict.fromkeys(precision for entry in BACKENDS.values() for precision in entry.precisions))
_MOST_THREADS = 1024  # runtimes start them all at once

log = logging.getLogger("mvt_deploy")


def load(
    model: str | os.PathLike[str] | None = None,
    backend: str = "ort",
    *,
    provider: str = "cpu",
    precision: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    search_size: SearchSize = None,
) -> Backend:
    """Open a bundle with a backend.

    Args:
        model: The bundle's folder; None is the default bundle, which the wheel carries (see
            :func:`mvt_deploy.default_bundle.default_folder`).
        backend: ``"ort"`` (ONNX Runtime), ``"openvino"`` (OpenVINO itself), ``"trt"`` (the engines that ``mvt-deploy
            build`` made) or ``"torch"`` (the reference).
        provider: Execution provider of the ort backend: ``"cpu"``, ``"openvino"``, ``"cuda"``, ``"tensorrt-rtx"``, or
            ``"auto"`` for the fastest runtime whose answers agree with the CPU's, int8 graphs that passed their gate
            included. What it chose is logged at level INFO and stands in the backend's ``name``, ``provider`` and
            ``precision``.
        precision: ``"fp32"`` (the default), ``"fp16"``, ``"bf16"`` (OpenVINO, PyTorch on a GPU) or ``"int8"``. With
            ``provider="auto"`` the default leaves the choice open; with ``"trt"`` it is the best engine built.
        threads: CPU threads; None lets the runtime choose.
        device: Device of the torch backend: ``"cpu"`` or ``"cuda"``.
        search_size: Side of the search crops in pixels, one of those the bundle holds; None for the bundle's default;
            ``"auto"`` opens all of them. The backend's ``spec`` and ``search_sizes`` say what was opened.

    Returns:
        The backend, a context manager that closes it.

    Raises:
        BundleError: There is no bundle, it is damaged, or it lacks graphs of this precision or side.
        BackendError: A name is unknown, a provider is not available here, or a runtime refuses the graphs.
        MissingExtra: The backend's packages are not installed.
    """
    options = OpenOptions(provider, precision, threads, device, search_size)
    _check(backend, options)
    bundle = open_bundle(default_bundle() if model is None else model)
    return _open_auto(bundle, options) if provider == AUTO else _open(bundle, backend, options)


def _check(backend: str, options: OpenOptions) -> None:
    """Refuse names that are unknown and options that do not belong to the backend."""
    for what, name, names in (
        ("backend", backend, NAMES),
        ("provider", options.provider, PROVIDERS),
        ("device", options.device, DEVICES),
        ("precision", options.precision, (*PRECISIONS, None)),
    ):
        if name not in names:
            raise BackendError(f"there is no {what} '{name}': choose one of {', '.join(filter(None, names))}.")
    threads, side = options.threads, options.search_size
    if threads is not None and not (type(threads) is int and 1 <= threads <= _MOST_THREADS):
        raise BackendError(f"threads is a number of CPU threads, 1 to {_MOST_THREADS}, not {threads!r}.")
    if not (side is None or side == "auto" or (type(side) is int and side > 0)):
        raise BackendError(f"the search size is a side in pixels, such as 256, or auto, not {side!r}.")
    entry = BACKENDS[backend]
    if options.provider != "cpu" and not entry.providers:
        raise BackendError(f"a provider belongs to the ort backend: leave it out with the backend {backend}.")
    if options.device not in entry.classes:
        raise BackendError(f"a device belongs to the torch backend: leave it out with the backend {backend}.")


def _open(bundle: Bundle, backend: str, options: OpenOptions) -> Backend:
    entry = BACKENDS[backend]
    module, _, name = entry.classes[options.device].partition(":")
    try:
        opened = getattr(importlib.import_module(f".{module}", __package__), name)
    except ImportError as error:
        if not entry.extra:
            raise
        raise MissingExtra(f"the backend {backend}", entry.extra, error.name or backend) from error
    backend_: Backend = opened.open(bundle, options)
    return backend_


def _open_auto(bundle: Bundle, options: OpenOptions) -> Backend:
    from .auto import Candidate, fastest

    def opens(backend: str, provider: str, precision: str) -> partial[Backend]:
        return partial(_open, bundle, backend, replace(options, provider=provider, precision=precision))

    def candidate(backend: str, provider: str, precision: str) -> Candidate:
        gated = precision == "int8" and _passed(bundle, backend)
        return Candidate(f"{backend} {provider} {precision}", opens(backend, provider, precision), gated)

    precisions = [options.precision] if options.precision else ["fp32", "bf16"]
    names = [("ort", "openvino"), ("openvino", "cpu"), ("ort", "cuda")]
    candidates = [candidate(b, v, p) for b, v in names for p in precisions if not (v == "cuda" and p == "bf16")]
    if options.precision is None:
        candidates += [candidate(b, "cpu", "int8") for b in ("ort", "openvino") if _passed(bundle, b)]
    elif options.precision not in ("fp32", "bf16"):
        candidates.append(candidate("ort", "cpu", options.precision))
    best, trials = fastest(opens("ort", "cpu", "fp32"), candidates)
    for trial in trials:
        log.debug("auto: %s: %s", trial.label, trial.refused or f"{trial.milliseconds:.1f} ms")
    ran = ", ".join(f"{t.label} {t.milliseconds:.1f} ms" for t in trials if not t.refused)
    log.info("auto chose %s (%s)", best.label, ran)
    return best


def _passed(bundle: Bundle, target: str) -> bool:
    """Whether the bundle has int8 graphs for a target, and their gate passed."""
    return any(g.passed and g.precision == "int8" and g.target == target for g in bundle.manifest.gates)
