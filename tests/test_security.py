"""What no module of the package may do: run what a file says, or hand a line of text to a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mvt_deploy"
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {"os.system", "os.popen", "os.execv", "os.spawnl", "subprocess.getoutput", "yaml.load", "torch.hub.load"}


def forbidden(source: str) -> Iterator[str]:
    """The lines of a module that break the rule, with the reason."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt | ast.expr):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            names = []
        for name in names:
            if name.split(".")[0] in MODULES or name in CALLS:
                yield f"{node.lineno}: imports {name}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in BUILTINS or called in CALLS or called.removeprefix("builtins.") in BUILTINS:
            yield f"{node.lineno}: calls {called}"
        if called.endswith("torch.load") and given.get("weights_only") != "True":
            yield f"{node.lineno}: torch.load without weights_only=True"
        if given.get("shell", "False") != "False":
            yield f"{node.lineno}: a shell"
        if given.get("allow_pickle", "False") != "False":
            yield f"{node.lineno}: allow_pickle"


def test_no_module_runs_what_a_file_says() -> None:
    found = {str(path): list(forbidden(path.read_text(encoding="utf-8"))) for path in PACKAGE.rglob("*.py")}
    assert len(found) > 100
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "from os import system",
        "import os\nos.system('ls')",
        "eval('1')",
        "import builtins\nbuiltins.exec('1')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
    ],
)
def test_the_rule_finds_what_it_forbids(source: str) -> None:
    assert list(forbidden(source))


def test_the_rule_lets_pass_what_it_may() -> None:
    assert not list(forbidden("import pickletools, torch\nmodel.eval()\ntorch.load('x', weights_only=True)"))
