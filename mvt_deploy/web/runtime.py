"""ONNX Runtime Web, at the one version the page is tested with: fetched by npm or given, and checked by its hashes."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import sha256

NAME, VERSION = "onnxruntime-web", "1.30.0"
PACKAGE = f"{NAME}@{VERSION}"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Subresource integrity of the package's archive, as npm records it in a lock file."""

FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
"""SHA-256 of the files that the page uses, from the archive with the integrity above."""

_NPM_SECONDS = 300
_REMEDY = (
    f"run  npm pack {PACKAGE}  on a computer with npm and a network, unpack the archive, "
    "and give the folder with --runtime DIR."
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A build of ONNX Runtime Web: the ES module that is imported, and the WebAssembly it runs."""

    module: Path
    binary: Path


@contextmanager
def find_runtime(
    folder: Path | None, say: Callable[[str], None] = lambda message: None
) -> Iterator[dict[str, Runtime]]:
    """The runtime's builds by the execution provider they are for: ``"wasm"`` and ``"webgpu"``.

    Args:
        folder: Unpacked npm package, or its ``dist`` folder; None fetches it with ``npm pack`` into a temporary
            folder that is removed when the block ends.
        say: Told what is being done.

    Raises:
        UserError: The package cannot be fetched, a file is missing, or a file is not the pinned version's.
    """
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            say(f"fetching {PACKAGE} with npm")
            folder = _fetch(Path(temporary))
        dist = folder / "dist" if (folder / "dist").is_dir() else folder
        for name, digest in FILES.items():
            if not (dist / name).is_file():
                raise UserError(f"{folder} is not the unpacked npm package {PACKAGE} (no {name}): {_REMEDY}")
            if sha256(dist / name) != digest:
                raise UserError(f"{dist / name} is not the file of {PACKAGE} that this page was tested with: {_REMEDY}")
        yield {
            "wasm": Runtime(dist / "ort.wasm.bundle.min.mjs", dist / "ort-wasm-simd-threaded.wasm"),
            "webgpu": Runtime(dist / "ort.webgpu.bundle.min.mjs", dist / "ort-wasm-simd-threaded.asyncify.wasm"),
        }


def _fetch(folder: Path) -> Path:
    """Fetch the package's archive with npm, compare it with its integrity, and unpack the files the page uses."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"the page needs ONNX Runtime Web, and npm is not installed here to fetch it: {_REMEDY}")
    try:
        done = subprocess.run(
            [npm, "pack", PACKAGE, "--pack-destination", str(folder)],
            capture_output=True,
            text=True,
            timeout=_NPM_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"npm could not fetch {PACKAGE} within {_NPM_SECONDS} seconds: {_REMEDY}") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        reason = (done.stderr.strip().splitlines() or ["it does not say why"])[0]
        raise UserError(f"npm cannot fetch {PACKAGE} ({reason}): {_REMEDY}")
    found = "sha512-" + base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != INTEGRITY:
        raise UserError(f"npm fetched another {PACKAGE} than the one this page was tested with: {_REMEDY}")
    with tarfile.open(archives[0]) as archive:
        for name in FILES:
            member = archive.extractfile(f"package/dist/{name}")
            if member is not None:
                (folder / name).write_bytes(member.read())
    return folder
