"""Writes the page, a bundle's graphs, ONNX Runtime Web and a sample clip as a site that any static host can serve."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..backends.ort import OrtBackend
from ..bundle import Bundle, Gate, GraphInfo, GraphPair, TrackerSpec
from ..crops import photograph_pairs
from ..errors import BundleError, UserError
from ..files import draft_folder
from ..version import __version__
from ..video import demo
from .half_weights import store_weights_as_fp16
from .runtime import VERSION, Runtime, find_runtime

PAGE = Path(__file__).parent / "page"
DESCRIPTION = "site.json"
HALF_WEIGHTS = "fp16-weights"
PRECISIONS = (HALF_WEIGHTS, "fp32", "fp16", "int8")
"""Precisions that WASM runs; ``fp16-weights`` is the fp32 graphs with their weights stored in fp16."""

_CHECKED_PAIRS = 4
_CLIP_WIDTH, _CLIP_HEIGHT = 480, 270
_CLIP_EVERY = 2  # frames of the rendered clip per picture of the sample
_JPEG_QUALITY = 70


@dataclass(frozen=True, slots=True)
class Part:
    """What a visitor downloads, in bytes.

    Attributes:
        what: ``"page"``, ``"wasm int8"`` (runtime and graphs of an execution provider and precision), or ``"clip"``.
        download: Size of the files as they lie in the site.
    """

    what: str
    download: int


def write_site(
    bundle: Bundle,
    folder: Path,
    *,
    precision: str | None = None,
    search_size: int | None = None,
    runtime: Path | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> list[Part]:
    """Write a site; an earlier one in its place is replaced.

    Args:
        bundle: The graphs to track with.
        folder: The site's place.
        precision: What WASM runs, one of :data:`PRECISIONS`. None is ``"fp16-weights"``, which computes in fp32 with
            weights rounded once, for about half the download; where the package ``onnx`` is missing, it is ``"fp32"``.
        search_size: Side of the search crops in pixels, of the sides the bundle holds; None for its default.
        runtime: Unpacked npm package ``onnxruntime-web``; None fetches it with npm.
        say: Told what is being done.

    Returns:
        What a visitor downloads: the page, then each way to run the network, then the sample clip.

    Raises:
        BundleError: The bundle lacks graphs of that precision or side, or a file is damaged.
        MissingExtra: ``"fp16-weights"`` is asked for, and the package ``onnx`` is not installed.
        UserError: The runtime cannot be fetched, or the place cannot be written or holds something else.
    """
    if precision is not None and precision not in PRECISIONS:
        raise UserError(f"there is no precision '{precision}' for browsers: choose one of {', '.join(PRECISIONS)}.")
    if folder.exists() and not (folder / DESCRIPTION).is_file() and any(folder.iterdir() if folder.is_dir() else [1]):
        raise UserError(f"{folder} exists and is no site of mvt-deploy: give another place, or remove it.")
    spec = bundle.manifest.tracker if search_size is None else bundle.manifest.tracker.at(search_size)
    if precision is None:
        precision = HALF_WEIGHTS if find_spec("onnx") else "fp32"
        if precision == "fp32":
            say("the package onnx is not installed (extra [package]), so the weights stay in fp32: twice the download")
    stored = "fp32" if precision == HALF_WEIGHTS else precision
    plans = [_Plan("wasm", precision, bundle.graphs("ort", stored, search_size))]
    plans += [_Plan("webgpu", p, pair) for p in ("fp16", "fp32") if (pair := _webgpu_pair(bundle, p, search_size))]
    try:
        with find_runtime(runtime, say) as builds, draft_folder(folder.resolve()) as site:
            return _Writer(bundle, spec, site, say).write(builds, plans)
    except OSError as error:
        raise UserError(f"cannot write a site at {folder} ({error.strerror}): give another place.") from error


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an execution provider of the browser runs: the bundle's graphs, stored at a precision."""

    provider: str
    precision: str
    pair: GraphPair


@dataclass(frozen=True, slots=True)
class _Writer:
    bundle: Bundle
    spec: TrackerSpec
    folder: Path
    say: Callable[[str], None]

    def write(self, builds: dict[str, Runtime], plans: list[_Plan]) -> list[Part]:
        shutil.copytree(PAGE, self.folder, dirs_exist_ok=True)
        shell = sorted(str(p.relative_to(self.folder).as_posix()) for p in self.folder.rglob("*") if p.is_file())
        shell.remove("service-worker.js")  # browsers keep it themselves
        spec = self.spec
        runtimes = {provider: self._runtime(build) for provider, build in builds.items()}
        self.say("checking the graphs, and rendering the sample clip")
        choices = [self._choice(plan) for plan in plans]
        description = {
            "name": self.bundle.manifest.name,
            "version": __version__,
            "tracker": {"template_size": spec.template_size, "template_factor": spec.template_factor},
            "runtime": {"version": VERSION, **runtimes},
            "choices": choices,
            "check": self._check(),
            "clip": self._clip(),
            "shell": shell,
        }
        text = json.dumps(description, indent=1)
        digest = hashlib.sha256(text.encode())
        for file in shell:
            digest.update((self.folder / file).read_bytes())
        (self.folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        worker = self.folder / "service-worker.js"
        worker.write_text(worker.read_text(encoding="utf-8").replace("{{ digest }}", digest.hexdigest()[:16]), "utf-8")
        page = sum((self.folder / file).stat().st_size for file in (*shell, DESCRIPTION, "service-worker.js"))
        return [Part("page", page), *self._parts(description)]

    def _runtime(self, build: Runtime) -> dict[str, Any]:
        module = Path("ort") / build.module.name
        shutil.copyfile(build.module, self.folder / module)
        return {"module": module.as_posix(), "binary": self._packed(f"ort/{build.binary.name}", build.binary)}

    def _choice(self, plan: _Plan) -> dict[str, Any]:
        return {
            "provider": plan.provider,
            "precision": plan.precision,
            "gated": any(gate.passed for gate in _gates(self.bundle, plan.pair)),
            "template": self._graph(plan.pair.template, plan.precision),
            "search": self._graph(plan.pair.search, plan.precision),
            "search_size": self.spec.search_size,
            "search_factor": self.spec.search_factor,
        }

    def _graph(self, graph: GraphInfo, precision: str) -> dict[str, Any]:
        path = self.bundle.path(graph)
        if precision != HALF_WEIGHTS:
            return self._packed(f"model/{graph.file}", path)
        name = f"{Path(graph.file).stem}.{HALF_WEIGHTS}.onnx"
        return self._packed(f"model/{name}", store_weights_as_fp16(path.read_bytes()))

    def _check(self) -> dict[str, Any]:
        """Crops of the shipped photographs, and the answers of native ONNX Runtime in fp32."""
        size = self.spec.search_size
        pairs = photograph_pairs(_CHECKED_PAIRS, search_size=size)
        backend = OrtBackend(self.bundle, search_size=size)
        try:
            found = backend.search(pairs.search, backend.template(pairs.template))
        finally:
            backend.close()
        content = b"".join(t.tobytes() + s.tobytes() for t, s in zip(pairs.template, pairs.search, strict=True))
        answers = np.concatenate([found.box, found.score[:, None]], axis=1)
        return {
            "crops": self._packed("model/check.bin", content),
            "search_size": size,
            "answers": [[round(float(v), 6) for v in row] for row in answers],
        }

    def _clip(self) -> dict[str, Any]:
        """The rendered clip, smaller, as JPEG pictures one after another: every browser can show it frame by frame."""
        pictures, first = [], None
        for index, (image, box) in enumerate(demo.frames()):
            if index % _CLIP_EVERY == 0:
                first = first or box
                small = cv2.resize(image, (_CLIP_WIDTH, _CLIP_HEIGHT), interpolation=cv2.INTER_AREA)
                _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
                pictures.append(encoded.tobytes())
        assert first is not None
        scale = _CLIP_WIDTH / demo.WIDTH
        return {
            "pictures": self._stored("clip.bin", b"".join(pictures)),
            "lengths": [len(picture) for picture in pictures],
            "fps": demo.FPS / _CLIP_EVERY,
            "box": [round(v * scale, 3) for v in first],
        }

    def _packed(self, name: str, content: Path | bytes) -> dict[str, Any]:
        """Write a file compressed, since not every host compresses what it serves."""
        data = content if isinstance(content, bytes) else content.read_bytes()
        place = self.folder / f"{name}.gz"
        if not place.exists():  # graphs may be shared by several choices
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(gzip.compress(data, compresslevel=6, mtime=0))
        return _described(f"{name}.gz", data, place.stat().st_size)

    def _stored(self, name: str, data: bytes) -> dict[str, Any]:
        (self.folder / name).write_bytes(data)
        return _described(name, data, len(data))

    def _parts(self, description: dict[str, Any]) -> Iterator[Part]:
        for choice in description["choices"]:
            files = (description["runtime"][choice["provider"]]["binary"], choice["template"], choice["search"])
            module = self.folder / description["runtime"][choice["provider"]]["module"]
            size = sum(f["download"] for f in files) + module.stat().st_size + description["check"]["crops"]["download"]
            yield Part(f"{choice['provider']} {choice['precision']}", size)
        yield Part("clip", description["clip"]["pictures"]["download"])


def _described(name: str, data: bytes, download: int) -> dict[str, Any]:
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "download": download}


def _webgpu_pair(bundle: Bundle, precision: str, search_size: int | None) -> GraphPair | None:
    try:
        return bundle.graphs("portable", precision, search_size)
    except BundleError:
        return None


def _gates(bundle: Bundle, pair: GraphPair) -> list[Gate]:
    """The verdicts on a search graph's trajectories."""
    return [g for g in bundle.manifest.gates if (g.precision, g.target) == (pair.search.precision, pair.search.target)]
