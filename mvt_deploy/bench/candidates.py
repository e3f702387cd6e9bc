"""What is measured: a backend, provider, precision, threads and number of targets, written ``ort:cpu:fp32:t2:b1``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..backends.registry import NAMES, PRECISIONS, PROVIDERS
from ..errors import UserError


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of a comparison; ``threads`` None is the runtime's own choice, ``batch`` the number of targets.

    ``provider`` is ONNX Runtime's; of PyTorch it is the device, ``cpu`` or ``cuda``.
    """

    backend: str = "ort"
    provider: str = "cpu"
    precision: str = "fp32"
    threads: int | None = None
    batch: int = 1

    @property
    def name(self) -> str:
        """The candidate as it is written, in its usual order."""
        placed = self.backend == "ort" or (self.backend == "torch" and self.provider != "cpu")
        parts = [self.backend, *([self.provider] if placed else []), self.precision]
        parts += [f"t{self.threads}"] if self.threads else []
        return ":".join([*parts, f"b{self.batch}"])

    @property
    def options(self) -> dict[str, Any]:
        """Keywords for :func:`mvt_deploy.load`, besides the backend's name."""
        keyword = {"ort": "provider", "torch": "device"}.get(self.backend)
        return {
            "precision": self.precision,
            "threads": self.threads,
            **({keyword: self.provider} if keyword else {}),
        }


def parse(text: str, threads: int | None = None, batch: int = 1) -> Candidate:
    """A candidate from its parts in any order; parts left out keep their defaults.

    ``openvino`` is the backend when it comes first, and the provider of ``ort`` behind it.

    Args:
        text: for instance ``ort:openvino:bf16:t2`` or ``torch``.
        threads: where the text names none.
        batch: likewise.

    Raises:
        UserError: a part is unknown, or comes twice.
    """
    found: dict[str, str | int] = {}
    for part in text.split(":"):
        key, value = _part(part, text, found)
        if key in found:
            raise UserError(f"the candidate '{text}' names its {key} twice: write it as ort:cpu:fp32:t2:b1.")
        found[key] = value
    found.setdefault("provider", "tensorrt" if found.get("backend") == "trt" else "cpu")
    return Candidate(**{"threads": threads, "batch": batch, **found})  # type: ignore[arg-type]


def _part(part: str, text: str, found: dict[str, str | int]) -> tuple[str, str | int]:
    if number := re.fullmatch(r"([tb])([1-9]\d*)", part):
        return ("threads" if number[1] == "t" else "batch"), int(number[2])
    if part in NAMES and not (part in PROVIDERS and "backend" in found):
        return "backend", part
    if part in PROVIDERS and part != "auto":
        return "provider", part
    if part in PRECISIONS:
        return "precision", part
    raise UserError(
        f"'{part}' in the candidate '{text}' is no backend ({', '.join(NAMES)}), provider (cpu, openvino, cuda), "
        f"precision ({', '.join(PRECISIONS)}), t<threads> or b<targets>."
    )
