"""What differs between TensorRT 10, TensorRT 11 and TensorRT-RTX; everything else uses what they share."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from ...errors import BackendError, MissingExtra

TENSORRT, RTX = "tensorrt", "tensorrt_rtx"
NAMES = (TENSORRT, RTX)
_EXTRAS = {TENSORRT: "trt", RTX: "trt-rtx"}
_OLDEST = (10, 3)


@dataclass(frozen=True, slots=True)
class Flavour:
    """An installed TensorRT.

    Attributes:
        name: Name of its Python module, one of :data:`NAMES`.
        version: Its version.
        trt: The module itself.
    """

    name: str
    version: str
    trt: Any

    @property
    def label(self) -> str:
        """Name and version for messages: ``TensorRT 10.3.0``."""
        return f"{'TensorRT-RTX' if self.name == RTX else 'TensorRT'} {self.version}"

    @property
    def needs_gpu_to_build(self) -> bool:
        """Full TensorRT times its kernels on the GPU; TensorRT-RTX leaves that to the machine that runs the engine."""
        return self.name == TENSORRT

    @property
    def network_flags(self) -> int:
        """Strongly typed: precision is what the graph says. The flag's number differs between versions."""
        return 1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def targets(self, gpu_capability: str | None, asked: str | None) -> tuple[str, ...]:
        """Compute capabilities that an engine built here runs on.

        Args:
            gpu_capability: Compute capability of the GPU in this machine; None where there is none.
            asked: The only compute capability to build for; None for all. Only TensorRT-RTX has a choice.

        Raises:
            BackendError: A compute capability this flavour cannot build for.
        """
        if self.name == TENSORRT:
            if asked is not None and asked != gpu_capability:
                raise BackendError(
                    f"{self.label} builds for the GPU in this machine ({gpu_capability}), not for {asked}: "
                    "leave --compute-capability out, or run it on the other machine."
                )
            return (str(gpu_capability),)
        offered = {_dotted(name): name for name in self.trt.ComputeCapability.__members__ if name.startswith("SM")}
        if asked is None:
            return tuple(c for c in offered if c != "7.5")  # Turing only by request
        if asked not in offered:
            raise BackendError(
                f"{self.label} has no kernels for compute capability {asked}: it knows {', '.join(offered)}."
            )
        return (asked,)

    def set_targets(self, config: Any, asked: str | None) -> None:
        """Tell a builder configuration what :meth:`targets` was asked for."""
        if self.name == RTX and asked is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(self.trt.ComputeCapability, f"SM{asked.replace('.', '')}"), 0)


def installed_flavours() -> list[Flavour]:
    """The flavours that can be imported here, full TensorRT first."""
    return [flavour for name in NAMES if (flavour := _open_if_there(name)) is not None]


def _open_if_there(name: str) -> Flavour | None:
    try:
        return open_flavour(name)
    except MissingExtra:
        return None


def open_flavour(name: str) -> Flavour:
    """Import one flavour.

    Args:
        name: One of :data:`NAMES`.

    Raises:
        MissingExtra: It is not installed, or its libraries cannot be loaded.
        BackendError: It is older than this project supports.
    """
    if name not in NAMES:
        raise BackendError(f"there is no TensorRT flavour '{name}': choose one of {', '.join(NAMES)}.")
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise MissingExtra(f"{name}", _EXTRAS[name], getattr(error, "name", None) or name) from error
    version = str(module.__version__)
    if name == TENSORRT and tuple(int(n) for n in version.split(".")[:2]) < _OLDEST:
        raise BackendError(
            f"TensorRT {version} is too old, strongly typed engines need 10.3 or newer: update it (JetPack 6 has 10.3)."
        )
    return Flavour(name, version, module)


def choose_builder(name: str | None, gpu: bool) -> Flavour:
    """The flavour to build with: the one named, or else full TensorRT where there is a GPU, or else TensorRT-RTX.

    Args:
        name: One of :data:`NAMES`; None for the choice above.
        gpu: Whether this machine has a GPU.

    Raises:
        MissingExtra: None is installed.
        BackendError: Full TensorRT without a GPU.
    """
    found = [open_flavour(name)] if name else installed_flavours()
    if not found:
        raise MissingExtra(
            "building engines on this GPU" if gpu else "building engines",
            "trt" if gpu else "trt-rtx",
            TENSORRT if gpu else RTX,
        )
    usable = [f for f in found if gpu or not f.needs_gpu_to_build]
    if not usable:
        raise BackendError(
            f"{found[0].label} builds engines on the GPU that will run them, and there is no NVIDIA GPU here: run this "
            "on that machine, or build for RTX GPUs from here after  pip install 'mvt-deploy[trt-rtx]'."
        )
    return usable[0]


def _dotted(name: str) -> str:
    """``SM120`` as ``12.0``."""
    digits = name.removeprefix("SM")
    return f"{digits[:-1]}.{digits[-1]}"
