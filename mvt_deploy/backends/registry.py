"""Backends by name, each imported only when it is asked for."""

from __future__ import annotations

import logging
import os
from functools import partial

from ..bundle import Bundle, open_bundle
from ..default_bundle import default_bundle
from ..errors import BackendError, MissingExtra
from .base import Backend

NAMES = ("ort", "openvino", "trt", "torch")
PROVIDERS = ("cpu", "openvino", "cuda", "auto")
DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
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
) -> Backend:
    """Open a bundle with a backend.

    Args:
        model: The bundle's folder; None is the default bundle, which the wheel carries (see
            :func:`mvt_deploy.default_bundle.default_folder`).
        backend: ``"ort"`` (ONNX Runtime), ``"openvino"`` (OpenVINO itself), ``"trt"`` (the engines ``mvt-deploy build``
            made) or ``"torch"`` (the reference).
        provider: of the ort backend: ``"cpu"``, ``"openvino"``, ``"cuda"``, or ``"auto"`` for the fastest runtime whose
            answers agree with the CPU's, int8 graphs that passed their gate included (what it chose is logged at level
            INFO and stands in the backend's ``label``).
        precision: ``"fp32"`` (the default), ``"fp16"``, ``"bf16"`` (OpenVINO, PyTorch on a GPU) or ``"int8"``; with
            ``provider="auto"`` the default leaves the choice open, with ``"trt"`` it is the best engine built.
        threads: CPU threads; None lets the runtime choose.
        device: of the torch backend: ``"cpu"`` or ``"cuda"``.

    Raises:
        BundleError: no bundle there, or it is damaged.
        BackendError: unknown names, a provider that is not available here, or a runtime that refuses the graphs.
        MissingExtra: the backend's packages are not installed.
    """
    for what, name, names in (
        ("backend", backend, NAMES),
        ("provider", provider, PROVIDERS),
        ("device", device, DEVICES),
    ):
        if name not in names:
            raise BackendError(f"there is no {what} '{name}': choose one of {', '.join(names)}.")
    if precision is not None and precision not in PRECISIONS:
        raise BackendError(f"there is no precision '{precision}': choose one of {', '.join(PRECISIONS)}.")
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= _MOST_THREADS):
        raise BackendError(f"--threads is a number of CPU threads, 1 to {_MOST_THREADS}, not {threads!r}.")
    if provider != "cpu" and backend != "ort":
        raise BackendError(f"--provider belongs to the ort backend: leave it out with --backend {backend}.")
    if device != "cpu" and backend != "torch":
        raise BackendError(f"--device belongs to the torch backend: leave it out with --backend {backend}.")
    bundle = open_bundle(default_bundle() if model is None else model)
    if backend == "trt":
        from .tensorrt.runner import TensorRtBackend

        return TensorRtBackend(bundle, precision)
    if backend == "torch" and device == "cuda":
        return _torch_cuda(bundle, precision or "fp32")
    if provider == "auto":
        return _auto(bundle, precision, threads)
    return _open(bundle, backend, provider, precision or "fp32", threads)


def _open(bundle: Bundle, backend: str, provider: str, precision: str, threads: int | None) -> Backend:
    try:
        if backend == "torch":
            if precision != "fp32":
                raise BackendError("the torch backend is the fp32 reference: leave --precision out.")
            from .torch import TorchBackend

            return TorchBackend(bundle.checkpoint(), threads=threads)
        if backend == "openvino":
            from .openvino import OpenVinoBackend

            return OpenVinoBackend(bundle, precision, threads)
    except ImportError as error:
        raise MissingExtra(
            f"the {backend} backend", "export" if backend == "torch" else backend, error.name or backend
        ) from error
    from .ort import OrtBackend

    return OrtBackend(bundle, provider, precision, threads)


def _torch_cuda(bundle: Bundle, precision: str) -> Backend:
    try:
        from .torch_cuda import TorchCudaBackend
    except ImportError as error:
        raise MissingExtra("the torch backend", "export", error.name or "torch") from error
    return TorchCudaBackend(bundle.checkpoint(), precision)


def _auto(bundle: Bundle, precision: str | None, threads: int | None) -> Backend:
    from .auto import Candidate, fastest

    def candidate(backend: str, provider: str, p: str) -> Candidate:
        opens = partial(_open, bundle, backend, provider, p, threads)
        return Candidate(f"{backend} {provider} {p}", opens, gated=p == "int8" and _passed(bundle, backend))

    precisions = [precision] if precision else ["fp32", "bf16"]
    names = [("ort", "openvino"), ("openvino", "cpu"), ("ort", "cuda")]
    candidates = [candidate(b, v, p) for b, v in names for p in precisions if not (v == "cuda" and p == "bf16")]
    if precision is None:
        candidates += [candidate(b, "cpu", "int8") for b in ("ort", "openvino") if _passed(bundle, b)]
    elif precision not in ("fp32", "bf16"):
        candidates.append(candidate("ort", "cpu", precision))
    best, trials = fastest(partial(_open, bundle, "ort", "cpu", "fp32", threads), candidates)
    for trial in trials:
        log.debug("auto: %s: %s", trial.label, trial.refused or f"{trial.milliseconds:.1f} ms")
    ran = ", ".join(f"{t.label} {t.milliseconds:.1f} ms" for t in trials if not t.refused)
    log.info("auto chose %s (%s)", best.label, ran)
    return best


def _passed(bundle: Bundle, target: str) -> bool:
    """Whether the bundle has int8 graphs for a target, and their gate passed."""
    return any(g.passed and g.precision == "int8" and g.target == target for g in bundle.manifest.gates)
