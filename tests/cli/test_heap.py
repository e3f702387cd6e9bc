"""Commands use one heap of the C library for all threads, so that memory stays where it is over weeks."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys, tempfile, threading
from mvt_deploy.cli.main import run
sys.argv = ["mvt-deploy", "--version"]
try:
    run()
except SystemExit:
    pass
c = ctypes.CDLL(None)
c.malloc.restype, c.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
c.malloc_info.argtypes, c.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
together = threading.Barrier(5)
def work():
    c.malloc(1000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
together.wait()
for thread in threads:
    thread.join()
with tempfile.NamedTemporaryFile("r") as report:
    file = c.fopen(report.name.encode(), b"w")
    c.malloc_info(0, file)
    c.fclose(file)
    print("heaps:", report.read().count("<heap nr="))
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc has it"
)
@pytest.mark.parametrize(("limit", "heaps"), [(None, 1), ("3", 3)])
def test_commands_use_one_heap_unless_the_environment_says_otherwise(limit: str | None, heaps: int) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
    environment |= {"MALLOC_ARENA_MAX": limit} if limit else {}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"heaps: {heaps}"
