"""``make test-aarch64``: the wheel and its base dependencies on ARM, in a Debian root under qemu's user emulation.

python tests/aarch64/run.py [--model BUNDLE] [--folder build/aarch64]

Installs the wheel with aarch64 wheels of the base dependencies, copies a bundle, tracks ten frames in fp32 and int8,
and compares with this machine: crops to the byte, and the boxes of the whole paths. Needs root, and the Debian packages
mmdebstrap and qemu-user-static.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mvt_deploy.bundle import open_bundle
from mvt_deploy.cli.options import ensure_model
from mvt_deploy.geometry import iou
from mvt_deploy.video import demo

REPOSITORY = Path(__file__).parents[2]
QEMU = "qemu-aarch64-static"
DEBIAN, PYTHON = "bookworm", "3.11"
SYSTEM_PACKAGES = ("python3", "libstdc++6", "libgl1", "libglib2.0-0")
"""What the wheels need beside themselves in a minimal Debian."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
PRECISIONS = ("fp32", "int8")
PIXELS = 0.05
"""Largest distance of a box's sides from this machine's along the whole path in fp32, in pixels of the frame."""
MEAN_IOU = 0.9
"""Least mean IoU of the boxes with this machine's along the whole path in int8. Sums of int8 convolutions are exact,
but a value that is rounded to the other side before them changes what follows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="the bundle, with int8 graphs; the default one if left out")
    parser.add_argument("--folder", type=Path, default=Path("build/aarch64"), help="where the root and the wheels go")
    arguments = parser.parse_args()
    for tool, package in ((QEMU, "qemu-user-static"), ("mmdebstrap", "mmdebstrap")):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt-get install {package}")
    if os.geteuid() != 0:
        sys.exit("the Debian root is entered with chroot: run this as root")
    folder: Path = arguments.folder.resolve()
    root = folder / "root"
    make_root(root)
    install(folder, root)
    bundle = open_bundle(ensure_model(arguments.model)).folder
    shutil.rmtree(root / "work", ignore_errors=True)
    shutil.copytree(bundle, root / "work" / "bundle", ignore=shutil.ignore_patterns("engines"))
    shutil.copyfile(Path(__file__).parent / "track.py", root / "work" / "track.py")
    frames = root / "work" / "frames.npz"
    write_frames(frames)
    exports_nothing(root)
    here = on_this_machine(bundle, frames)
    found = json.loads(on_arm(root, "/work/track.py", "/work/bundle", f"/work/{frames.name}", *PRECISIONS).stdout)
    sys.exit(compare(found, here))


def make_root(root: Path) -> None:
    """A minimal arm64 Debian: its packages are unpacked, and need not be configured."""
    if (root / "usr/bin/python3").exists():
        return
    print(f"making an arm64 Debian {DEBIAN} in {root}", file=sys.stderr)
    root.parent.mkdir(parents=True, exist_ok=True)
    packages = ",".join(SYSTEM_PACKAGES)
    command = ["mmdebstrap", "--variant=extract", "--architectures=arm64", f"--include={packages}", DEBIAN, str(root)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    shutil.copy(str(shutil.which(QEMU)), root / "usr/bin" / QEMU)


def install(folder: Path, root: Path) -> None:
    """Put the wheel of this clone, and aarch64 wheels of its base dependencies, into the root."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, REPOSITORY], check=True, stdout=sys.stderr)
    shutil.rmtree(root / "opt/site", ignore_errors=True)
    foreign = ["--only-binary=:all:", f"--python-version={PYTHON}", *(f"--platform={p}_aarch64" for p in PLATFORMS)]
    constraints = ["-c", str(REPOSITORY / "constraints.txt")]
    (wheel,) = wheels.glob("mvt_deploy-*.whl")
    command = [*pip, "install", *foreign, *constraints, "--target", str(root / "opt/site"), str(wheel)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def write_frames(path: Path) -> None:
    clip = [(image, box) for index, (image, box) in enumerate(demo.frames(22)) if index % 2 == 0]
    small = [cv2.resize(image, (480, 270), interpolation=cv2.INTER_AREA) for image, _ in clip]
    np.savez(path, frames=np.stack(small), box=np.array(clip[0][1]) / 2)


def on_arm(root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Python in the root."""
    emulator = [f"/usr/bin/{QEMU}", "-E", "PYTHONPATH=/opt/site", "-E", "HOME=/work"]
    command = ["chroot", str(root), *emulator, f"/usr/bin/python{PYTHON}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"on ARM, this failed: {' '.join(arguments)}\n{done.stderr}")
    return done


def on_this_machine(bundle: Path, frames: Path) -> Any:
    """What ``track.py`` prints on this machine."""
    script = Path(__file__).parent / "track.py"
    command = [sys.executable, *map(str, (script, bundle, frames)), *PRECISIONS]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def exports_nothing(root: Path) -> None:
    """Exporting needs PyTorch, which the base dependencies leave out: one sentence and exit code 2."""
    done = on_arm(root, "-m", "mvt_deploy", "export", "-o", "/work/exported", check=False)
    if done.returncode != 2 or "mvt-deploy[export]" not in done.stderr or (root / "work/exported").exists():
        sys.exit(f"export with base dependencies did not end as it should:\n{done.stderr}")


def compare(found: dict[str, Any], here: dict[str, Any]) -> int:
    """Print what was found, and return the exit status."""
    print(f"{found['machine']} beside {platform.machine()}:", json.dumps(found["versions"]))
    different = sum(a != b for a, b in zip(found["crops"], here["crops"], strict=True))
    print(f"crops: {len(found['crops']) - different} of {len(found['crops'])} are equal to the byte")
    failed = different
    for precision in PRECISIONS:
        a, b = (np.array(side["paths"][precision]) for side in (found, here))
        each = np.abs(a[:, :4] - b[:, :4]).max(axis=1)
        score = float(np.abs(a[:, 4] - b[:, 4]).max())
        overlap = float(iou(a[:, :4], b[:, :4]).mean())
        agrees = each.max() <= PIXELS if precision == "fp32" else overlap >= MEAN_IOU
        failed += not agrees
        print(
            f"{precision}: boxes within {each.max():.2g} px, mean IoU {overlap:.4f}, scores within {score:.2g}:",
            "agrees" if agrees else "DIFFERS",
        )
        print("  by frame, in pixels:", " ".join(f"{value:.2g}" for value in each))
    return int(failed > 0)


if __name__ == "__main__":
    main()
