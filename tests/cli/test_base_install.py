"""Every verb without any extra: it works, or one sentence names the extra to install."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest
import typer
from golden import ROOT

from mvt_deploy.cli.main import app
from mvt_deploy.video import demo

_SCRIPT = """
import contextlib, io, json, sys
from mvt_deploy.cli.main import run
for arguments in json.load(sys.stdin):
    sys.argv = ["mvt-deploy", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run()
        except SystemExit as exit:
            code = exit.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
            code = "a traceback"
    print("@" + json.dumps([code, err.getvalue()]), flush=True)
"""


class Answer(NamedTuple):
    """How one command ended."""

    code: int | str
    stderr: str


def link_base_packages(folder: Path) -> None:
    """Fill a folder with links to the installed packages that the base dependencies bring, and no others."""
    brought, todo = set(), ["mvt-deploy"]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in brought:
            continue
        brought.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another system or Python
            continue
        todo += [re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in distribution.requires or [] if "extra ==" not in r]
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            if name != "mvt-deploy":
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short clip and its ground truth, as a video and as a benchmark."""
    folder = tmp_path_factory.mktemp("base")
    images = folder / "data" / "clip"
    images.mkdir(parents=True)
    lines = []
    for i, (image, box) in enumerate(demo.frames(14)):
        assert cv2.imwrite(str(images / f"{i + 1:08d}.jpg"), image)
        lines.append(",".join(map(str, box)))
    (images / "groundtruth.txt").write_text("\n".join(lines))
    return folder


CLIP, MODEL = "data/clip", "BUNDLE"
CASES: dict[str, tuple[list[str], str | None]] = {
    # verb and what is special about the case: arguments, and the extra that the refusal names, None where it works
    "export": (["-o", "exported"], "export"),
    "export int8": (["-o", "exported", "--int8", "--max-ao-drop", "0.01"], "export"),
    "calibrate": ([CLIP, "--model", MODEL, "-o", "set", "--pairs", "16"], None),
    "calibrate default": ([CLIP, "-o", "other"], "export"),
    "build": (["--model", MODEL], "trt-rtx"),
    "track": ([CLIP, "--model", MODEL, "--no-video"], None),
    "track default": ([CLIP, "--no-video"], "export"),
    "track openvino": ([CLIP, "--model", MODEL, "--no-video", "--backend", "openvino"], "openvino"),
    "track provider": ([CLIP, "--model", MODEL, "--no-video", "--provider", "openvino"], "openvino"),
    "track torch": ([CLIP, "--model", MODEL, "--no-video", "--backend", "torch"], "export"),
    "track trt": ([CLIP, "--model", MODEL, "--no-video", "--backend", "trt"], "trt"),
    "track metrics": ([CLIP, "--model", MODEL, "--no-video", "--metrics", "0"], "metrics"),
    "bench": (["--model", MODEL, "--plot", "a.png"], "eval"),
    "bench default": (["--seconds", "0.1"], "export"),
    "bench torch": (["--model", MODEL, "--backend", "torch"], "export"),
    "demo": (["-o", "shown"], "export"),
    "package": (["--model", MODEL, "--triton", "repository"], None),
    "doctor": ([], None),
    "eval": (["data", "--model", MODEL, "-o", "run"], None),
    "eval ray": (["data", "--model", MODEL, "-o", "run2", "--ray", "local"], "ray"),
    "eval torch": (["data", "--model", MODEL, "-o", "run3", "--no-fusion"], "export"),
    "gate": (["data", "--backend", "openvino", "--precision", "bf16", "--model", MODEL], "openvino"),
    "sensitivity": (["--model", MODEL], "export"),
    "train": (["--data", "data"], "export"),
}


@pytest.fixture(scope="module")
def answers(bundle: Path, place: Path) -> dict[str, Answer]:
    """Every case, run one after the other in one process without the packages of any extra."""
    cases = [
        [name.split()[0], *(str(bundle) if argument == MODEL else argument for argument in arguments)]
        for name, (arguments, _) in CASES.items()
    ]
    packages = place / "packages"
    packages.mkdir()
    link_base_packages(packages)
    done = subprocess.run(
        [sys.executable, "-S", "-c", _SCRIPT],  # -S: without the environment's own packages
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        cwd=place,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (packages, ROOT))),
            "XDG_CACHE_HOME": str(place / "cache"),
        },
    )
    lines = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    assert len(lines) == len(CASES), done.stderr
    return {name: Answer(*line) for name, line in zip(CASES, lines, strict=True)}


def test_every_verb_is_tried() -> None:
    verbs = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {name.split()[0] for name in CASES} == verbs


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_works_or_names_the_extra(answers: dict[str, Answer], name: str) -> None:
    code, stderr = answers[name]
    extra = CASES[name][1]
    assert "Traceback" not in stderr
    if extra is None:
        assert code == 0, stderr
        return
    assert code == 2, stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert f"pip install 'mvt-deploy[{extra}]'" in line


@pytest.mark.slow
def test_nothing_is_left_of_what_was_refused(answers: dict[str, Answer], place: Path) -> None:
    assert not [name for name in ("exported", "models", "other", "a.png") if (place / name).exists()]
