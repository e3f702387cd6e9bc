"""What is measured: a backend, provider, precision, threads, search size and targets: ``ort:cpu:fp32:t2:b1``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..backends.registry import AUTO, NAMES, PRECISIONS, PROVIDERS
from ..bundle import SearchSize
from ..errors import UserError


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of a comparison.

    Attributes:
        backend: Name of the backend, as :func:`mvt_deploy.load` takes it.
        provider: Execution provider of ONNX Runtime; for PyTorch the device, ``cpu`` or ``cuda``.
        precision: Arithmetic: fp32, fp16, bf16 or int8.
        threads: CPU threads; None for the runtime's own choice.
        batch: Number of targets in each frame.
        search_size: Side of the search crop in pixels, ``"auto"`` for a side chosen per target and frame, or None for
            the bundle's default.
    """

    backend: str = "ort"
    provider: str = "cpu"
    precision: str = "fp32"
    threads: int | None = None
    batch: int = 1
    search_size: SearchSize = None

    @property
    def name(self) -> str:
        """The candidate as it is written, with its parts in their usual order."""
        placed = self.backend == "ort" or (self.backend == "torch" and self.provider != "cpu")
        parts = [self.backend, *([self.provider] if placed else []), self.precision]
        if self.search_size:
            parts.append("auto" if self.search_size == "auto" else f"s{self.search_size}")
        parts += [f"t{self.threads}"] if self.threads else []
        return ":".join([*parts, f"b{self.batch}"])

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of :func:`mvt_deploy.load`, besides the backend's name."""
        keyword = {"ort": "provider", "torch": "device"}.get(self.backend)
        return {
            "precision": self.precision,
            "threads": self.threads,
            **({keyword: self.provider} if keyword else {}),
            **({"search_size": self.search_size} if self.search_size else {}),
        }


def parse(text: str, threads: int | None = None, batch: int = 1) -> Candidate:
    """A candidate from its parts, in any order; parts that are left out keep their defaults.

    ``openvino`` is the backend where it comes first, and the provider of ``ort`` after another backend.

    Args:
        text: For instance ``ort:openvino:bf16:t2``, ``ort:int8:s192``, ``openvino:auto`` or ``torch``.
        threads: CPU threads where the text names none.
        batch: Number of targets where the text names none.

    Raises:
        UserError: A part is unknown, or is given twice.
    """
    found: dict[str, str | int] = {}
    for part in text.split(":"):
        key, value = _part(part, text, found)
        if key in found:
            what = key.replace("_", " ")
            raise UserError(f"the candidate '{text}' names its {what} twice: write it as ort:cpu:fp32:t2:b1.")
        found[key] = value
    found.setdefault("provider", "tensorrt" if found.get("backend") == "trt" else "cpu")
    return Candidate(**{"threads": threads, "batch": batch, **found})  # type: ignore[arg-type]


def _part(part: str, text: str, found: dict[str, str | int]) -> tuple[str, str | int]:
    if number := re.fullmatch(r"([tb])([1-9]\d*)", part):
        return ("threads" if number[1] == "t" else "batch"), int(number[2])
    if side := re.fullmatch(r"s([1-9]\d*)", part):
        return "search_size", int(side[1])
    if part == "auto":
        return "search_size", part
    if part in NAMES and not (part in PROVIDERS and "backend" in found):
        return "backend", part
    if part in PROVIDERS:
        return "provider", part
    if part in PRECISIONS:
        return "precision", part
    providers = ", ".join(name for name in PROVIDERS if name != AUTO)
    raise UserError(
        f"'{part}' in the candidate '{text}' is no backend ({', '.join(NAMES)}), provider ({providers}), "
        f"precision ({', '.join(PRECISIONS)}), s<search size>, auto (search size per frame), t<threads> or b<targets>."
    )
