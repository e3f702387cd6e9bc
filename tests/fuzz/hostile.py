"""How hostile input is made: files with places overwritten, cut or repeated, and JSON with values exchanged."""

from __future__ import annotations

import copy
import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

BATCH = 32
"""Inputs made from one seed that hypothesis draws: its own structured draws cost more than the readers under test."""


@dataclass(frozen=True)
class Target:
    """A check and its inputs: drawn by hypothesis one by one, or made in batches from a seed."""

    name: str
    what: str
    strategy: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    seeded: Callable[[Random], Any]

    def run(self, source: Any) -> int:
        """Check one input in a list, or a batch from a seed; their number."""
        batch = [self.seeded(Random(f"{source}/{i}")) for i in range(BATCH)] if isinstance(source, int) else source
        for content in batch:
            self.check(content)
        return len(batch)


TARGETS: dict[str, Target] = {}


def fuzzed(
    structured: Callable[[], st.SearchStrategy[Any]], seeded: Callable[[Random], Any]
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a check of one input as a target.

    Args:
        structured: gives the strategy of single inputs.
        seeded: makes one input with a random generator.
    """

    def register(check: Callable[[Any], None]) -> Callable[[Any], None]:
        singles = st.deferred(structured).map(lambda content: [content])
        name, what = check.__name__, (check.__doc__ or "").strip()
        TARGETS[name] = Target(name, what, singles | st.integers(0, 2**63), check, seeded)
        return check

    return register


@functools.cache
def workplace() -> Path:
    """A folder for this process."""
    return Path(tempfile.mkdtemp(prefix="mvt-fuzz-"))


@st.composite
def mangled(draw: st.DrawFn, original: bytes, most: int = 6) -> bytes:
    """A file with a few places overwritten, cut out, repeated or grown, or cut short."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["write", "insert", "remove", "repeat", "cut"])):
            case "write":
                new = draw(st.binary(min_size=1, max_size=9))
                data[at : at + len(new)] = new
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "remove":
                del data[at : at + draw(st.integers(1, 64))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case "cut":
                del data[at:]
    return bytes(data)


def mangle(original: bytes, random: Random) -> bytes:
    """:func:`mangled` without hypothesis."""
    data = bytearray(original)
    for _ in range(random.randint(1, 6)):
        at, some = random.randint(0, len(data)), random.randint(1, 64)
        match random.randrange(6):
            case 0 | 1:
                data[at : at + 1] = random.randbytes(1)
            case 2:
                data[at:at] = random.randbytes(random.randint(1, 9))
            case 3:
                del data[at : at + some]
            case 4:
                data[at:at] = data[at : at + some]
            case _:
                data[at : at + 4] = random.choice([bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x01"])
    return bytes(data)


_text = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", ".", "..", "../x", "/etc/passwd", "a\\b", "c:x", "a\0b", "\ud800", "x" * 5000, "search.onnx"]),
)
_number = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 1, 10**400, -(10**400), 2**63]),
    st.floats(),
)
_leaf = st.one_of(st.none(), st.booleans(), _number, _text)
_json = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every value inside parsed JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, content: Any) -> str:
    """JSON with a few values exchanged, removed or repeated."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 4))):
        *above, last = draw(st.sampled_from([p for p in _places(content) if p] or [("",)]))
        holder = functools.reduce(lambda held, key: held[key], above, content)
        match draw(st.sampled_from(["exchange", "exchange", "remove", "repeat"])):
            case "exchange":
                holder[last] = draw(_json)
            case "remove":
                del holder[last]
            case "repeat":
                holder[last] = [holder[last]] * 2
        if not isinstance(content, dict) or not content:
            break
    return json.dumps(content)


_VALUES: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**63, 10**400, -0.0, 0.5, 1e308, float("nan"), float("-inf"), "", "..", "../x", "/x",
    "a\\b", "a\0b", "\ud800", "n", "search.onnx", [], {}, [[]], [None], {"": None}, [1, 2], {"name": "n"},
]  # fmt: skip


def change(content: Any, random: Random) -> str:
    """:func:`changed` without hypothesis."""
    content = json.loads(json.dumps(content))
    for _ in range(random.randint(1, 3)):
        *above, last = random.choice([p for p in _places(content) if p] or [("",)])
        holder = functools.reduce(lambda held, key: held[key], above, content)
        if random.random() < 0.2 and last in (holder if isinstance(holder, dict) else range(len(holder))):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(random.choice(_VALUES))
    return json.dumps(content)


def either(content: Any, raw: bytes, random: Random) -> bytes | str:
    """JSON with values exchanged, or the bytes of its file mangled."""
    return change(content, random) if random.random() < 0.7 else mangle(raw, random)


def write(path: Path, content: bytes | str) -> None:
    """Write a case's content to a file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
