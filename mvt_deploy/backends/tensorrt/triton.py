"""A bundle as a model repository for NVIDIA's Triton Inference Server: a template model and search models.

The models keep no state: a client sends a template crop once, keeps the features, and sends them with every search
crop, so that any number of streams share one server, and Triton batches their requests. The format of ``config.pbtxt``
is Triton's ``model_config.proto``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...bundle import Bundle, GraphInfo, TensorInfo
from ...errors import BundleError, UserError
from ...files import draft_folder, sha256
from .flavour import TENSORRT
from .store import Stored, stored_engines

PLATFORMS = {"onnx": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
_FILES = {"onnx": "model.onnx", "tensorrt": "model.plan"}
KINDS = {"gpu": "KIND_GPU", "cpu": "KIND_CPU", "auto": "KIND_AUTO"}
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "float16": "TYPE_FP16"}


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How a repository is set up.

    Attributes:
        platform: ``"onnx"`` (ONNX Runtime) or ``"tensorrt"`` (engines built on the server's GPU).
        precision: Precision of the graphs or engines.
        max_batch: Largest number of requests in one batch; where engines allow less, theirs counts.
        instances: Copies of each model that run at once on every GPU.
        kind: Where the models run: ``"gpu"``, ``"cpu"`` or ``"auto"``.
        delay: Longest wait for a fuller batch, in microseconds.
        name: The models are named ``<name>_template`` and ``<name>_search``; a search model of another side than the
            default is named ``<name>_search_s<side>``.
    """

    platform: str = "onnx"
    precision: str = "fp32"
    max_batch: int = 64
    instances: int = 1
    kind: str = "auto"
    delay: int = 500
    name: str = "mvt"

    def __post_init__(self) -> None:
        for what, value, names in (("platform", self.platform, PLATFORMS), ("kind", self.kind, KINDS)):
            if value not in names:
                raise UserError(f"there is no Triton {what} '{value}': choose one of {', '.join(names)}.")
        if self.max_batch < 1 or self.instances < 1 or self.delay < 0:
            raise UserError("a Triton model has max_batch and instances of at least 1, and no negative delay.")
        if not self.name.replace("_", "").replace("-", "").isalnum():
            raise UserError(f"'{self.name}' is no model name: use letters, digits, - and _.")


def write_repository(bundle: Bundle, folder: Path, options: TritonOptions) -> list[Path]:
    """Write the bundle's models into a repository folder: the template model, and a search model per side.

    Other models in the folder stay; earlier ones of the same names are replaced.

    Args:
        bundle: An opened bundle.
        folder: The repository.
        options: How the repository is set up.

    Returns:
        The models' folders.

    Raises:
        BundleError: The bundle lacks such graphs or engines, or the folder cannot be written.
    """
    models = []
    default = bundle.graphs("tensorrt", options.precision)
    sides = bundle.sizes_of("tensorrt", options.precision, "auto")
    others = [
        bundle.graphs("tensorrt", options.precision, side).search for side in sides if side != default.search.side
    ]
    for graph in (*default, *others):
        name = f"{options.name}_{graph.role}" + (f"_s{graph.side}" if graph in others else "")
        if options.platform == "tensorrt":
            engine = _engine(bundle, graph)
            max_batch = min(options.max_batch, max(profile.max for profile in engine.info.profiles))
            models.append((name, engine.path, config(graph, name, options, max_batch, len(engine.info.profiles))))
        else:
            models.append((name, bundle.path(graph), config(graph, name, options, options.max_batch)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write_model(folder / name, file, text, _FILES[options.platform]) for name, file, text in models]
    except OSError as error:
        raise BundleError(f"cannot write a model repository at {folder} ({error.strerror}).") from error


def config(graph: GraphInfo, name: str, options: TritonOptions, max_batch: int, profiles: int = 0) -> str:
    """``config.pbtxt`` of one model.

    Args:
        graph: The graph whose inputs and outputs the model has.
        name: Name of the model.
        options: How the repository is set up.
        max_batch: Largest number of requests in one batch.
        profiles: Number of optimisation profiles of an engine; 0 for ONNX.
    """
    group = [f"count: {options.instances}", f"kind: {KINDS[options.kind]}"]
    if profiles:
        group.append(f"profile: [ {', '.join(json.dumps(str(i)) for i in range(profiles))} ]")
    lines = [
        f'name: "{name}"',
        f'platform: "{PLATFORMS[options.platform]}"',
        f"max_batch_size: {max_batch}",
        *_tensors("input", graph.inputs),
        *_tensors("output", graph.outputs),
        f"instance_group [ {{ {', '.join(group)} }} ]",
    ]
    if max_batch > 1:
        sizes = [2**i for i in range(1, max_batch.bit_length()) if 2**i <= max_batch]
        lines.append(
            f"dynamic_batching {{ preferred_batch_size: {sizes}, max_queue_delay_microseconds: {options.delay} }}"
        )
    return "\n".join(lines) + "\n"


def _tensors(what: str, tensors: Iterable[TensorInfo]) -> list[str]:
    return [f"{what} [ {{ name: {json.dumps(t.name)}, data_type: {_TYPES[t.dtype]}, {_dims(t)} }} ]" for t in tensors]


def _dims(tensor: TensorInfo) -> str:
    """Shape without the batch. A scalar per target has none, which Triton wants as ``[ 1 ]``, reshaped to ``[ ]``."""
    sides = tensor.shape[1:]
    return f"dims: {sides}" if sides else "dims: [ 1 ], reshape { shape: [ ] }"


def _engine(bundle: Bundle, graph: GraphInfo) -> Stored:
    """The bundle's only engine of a graph that Triton's TensorRT backend can run."""
    flag = "" if graph.precision == "fp32" else f" --{graph.precision}"
    fitting = [e for e in stored_engines(bundle) if e.info.flavour == TENSORRT and e.info.graph_sha256 == graph.sha256]
    if not fitting:
        raise BundleError(
            f"bundle {bundle.folder} has no {graph.precision} {graph.role} engine of full TensorRT, which is what "
            f"Triton runs: on the server's GPU run  mvt-deploy build{flag} --flavour tensorrt,  or use --platform onnx."
        )
    if len(fitting) > 1:
        held = "; ".join(e.info.built_for for e in fitting)
        raise BundleError(f"bundle {bundle.folder} has several engines ({held}): delete the folders of other machines.")
    if not fitting[0].path.is_file() or sha256(fitting[0].path) != fitting[0].info.sha256:
        raise BundleError(f"{fitting[0].path} is damaged: build it again with  mvt-deploy build{flag}.")
    return fitting[0]


def _write_model(place: Path, file: Path, text: str, name: str) -> Path:
    """One model's folder, whole or not at all."""
    if place.exists():
        _require_ours(place)
    with draft_folder(place) as temporary:
        (temporary / "1").mkdir()
        shutil.copyfile(file, temporary / "1" / name)
        (temporary / "config.pbtxt").write_text(text, encoding="utf-8")
    return place


def _require_ours(place: Path) -> None:
    if not (place / "config.pbtxt").is_file():
        raise BundleError(f"{place} exists and is no Triton model: give another folder, or another --name.")
