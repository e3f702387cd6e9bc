"""What is fuzzed of bundles, checkpoints, boxes and frames; each target fails on all but a sound result or a UserError.

``test_fuzz.py`` runs a small fixed sample; ``python tests/fuzz/fuzz.py`` runs as many cases as asked for.
"""

from __future__ import annotations

import functools
import io
import json
import math
import warnings
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from hostile import changed, either, fuzzed, mangle, mangled, workplace, write
from hypothesis import strategies as st
from safetensors.torch import save
from tiny import restate, search, sidecar, tiny_bundle

from mvt_deploy import groundtruth, load
from mvt_deploy.backends.tensorrt.store import stored_engines
from mvt_deploy.bundle import LARGEST_CROP, open_bundle
from mvt_deploy.errors import BackendError, BoxError, BundleError, CheckpointError, SourceError
from mvt_deploy.files import inside
from mvt_deploy.geometry import Box, clip, crop, crop_window, map_back
from mvt_deploy.network import read_checkpoint
from mvt_deploy.onnx_file import outline
from mvt_deploy.overlap import average_overlap


@functools.cache
def _bundle() -> tuple[Path, Any, bytes]:
    folder = tiny_bundle(workplace() / "tiny")
    raw = (folder / "manifest.json").read_bytes()
    return folder, json.loads(raw), raw


@fuzzed(lambda: changed(_bundle()[1]) | mangled(_bundle()[2]), lambda random: either(*_bundle()[1:], random))
def manifest(content: bytes | str) -> None:
    """``open_bundle``: a manifest that passes names only files in its folder and sizes a tracker can allocate."""
    folder = workplace() / "manifest"
    folder.mkdir(exist_ok=True)
    write(folder / "manifest.json", content)
    try:
        bundle = open_bundle(folder)
    except BundleError:
        return
    held = bundle.manifest
    assert all(inside(folder, folder / f) for f in (held.checkpoint.file, *(g.file for g in held.graphs)))
    assert 0 < held.tracker.template_size <= LARGEST_CROP
    assert 0 < held.tracker.search_size <= LARGEST_CROP
    assert math.isfinite(held.tracker.search_factor)


@fuzzed(
    lambda: changed(sidecar()) | mangled(json.dumps(sidecar()).encode()),
    lambda random: either(sidecar(), json.dumps(sidecar()).encode(), random),
)
def engine_sidecar(content: bytes | str) -> None:
    """``stored_engines`` passes over what it cannot read."""
    folder, _, _ = _bundle()
    place = folder / "engines" / "tensorrt-10.3-gpu"
    place.mkdir(parents=True, exist_ok=True)
    write(place / "search.fp16.json", content)
    for stored in stored_engines(open_bundle(folder)):
        assert stored.path.parent == place
        assert stored.info.built_for


_token = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["nan", "-inf", "1e400", "1_0", "0x1p3", "", "abc", "١٢", "\ufeff1", "1e-320", "--1", "\x1c"]),
)
_line = st.lists(_token, max_size=9).flatmap(
    lambda t: st.sampled_from([",", ";", " ", "\t", ", "]).map(lambda s: s.join(t))
)
_lines = st.lists(_line, max_size=6).map("\n".join)


_TRUTH = b"10,20,30,40\n1.5 2.5 3.5 4.5\nNaN,NaN,NaN,NaN\n0;0;9;0;9;9;0;9\n1e308,1e308,1e308,1e308\n"


@fuzzed(lambda: _lines | mangled(_TRUTH), lambda random: mangle(_TRUTH, random))
def ground_truth(content: bytes | str) -> None:
    """The ground-truth reader, and the AO of a track against what it reads."""
    path = workplace() / "groundtruth.txt"
    write(path, content)
    try:
        truth = groundtruth.read(path)
        assert truth.shape[1:] == (4,)
        present = truth[~np.isnan(truth).any(axis=1)]
        assert np.isfinite(present).all()
        assert (present[:, 2:] > 0).all()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            overlap = average_overlap(np.tile([1.0, 2, 30, 40], (len(truth), 1)), truth, (640, 480))
        assert overlap is None or 0 <= overlap <= 1
    except SourceError:
        pass


def _archive(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", data)
        archive.writestr("x/data/0", bytes(range(64)))
    return buffer.getvalue()


@functools.cache
def _saved() -> tuple[bytes, bytes, bytes]:
    """A small checkpoint as an archive, its pickle alone, and as safetensors."""
    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.float16)}
    buffer = io.BytesIO()
    torch.save({"net": state, "epoch": 3, "settings": zipfile.ZipInfo("of a class nobody builds")}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        pickled = archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
    return buffer.getvalue(), pickled, save(state)


_OPCODES = [
    b"}", b"]", b")", b"(", b"t", b"l", b"d", b"s", b"u", b"a", b"e", b"R", b"b", b"Q", b"0", b"1", b"2", b"N", b"\x88",
    b"\x81", b"\x85", b"\x86", b"\x87", b"\x8f", b"\x90", b"\x93", b"\x94", b"o", b"q\x00", b"q\x01", b"h\x00",
    b"h\x01",    b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f", b"K\x00", b"K\x04", b"J\xff\xff\xff\xff", b"\x8a\x01\x05",
    b"\x8b\xff\xff\xff\x7f", b"X\x03\x00\x00\x00net", b"X\x01\x00\x00\x000", b"X\x07\x00\x00\x00storage",
    b"X\x05\x00\x00\x00items", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"G\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n", b"cos\nsystem\n", b"cbuiltins\neval\n", b"ios\nsystem\n", b"P0\n", b"\x82\x01",
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ",
]  # fmt: skip
_assembled = st.lists(st.sampled_from(_OPCODES), min_size=1, max_size=25).map(
    lambda ops: b"\x80\x02" + b"".join(ops) + b"."
)


def _seeded_checkpoint(random: Random) -> bytes:
    archive, pickled, tensors = _saved()
    match random.randrange(4):
        case 0:
            chosen = random.choices(_OPCODES, k=random.randint(1, 25))
            return _archive(b"\x80\x02" + b"".join(chosen) + b".")
        case 1:
            return _archive(mangle(pickled, random))
        case 2:
            return mangle(archive, random)
        case _:
            return b"safetensors" + mangle(tensors, random)


@fuzzed(
    lambda: st.one_of(
        _assembled.map(_archive),
        mangled(_saved()[1]).map(_archive),
        mangled(_saved()[0]),
        mangled(_saved()[2]).map(lambda data: b"safetensors" + data),
    ),
    _seeded_checkpoint,
)
def checkpoint(content: bytes) -> None:
    """``read_checkpoint``: tensors by name within the file's size, or a sentence."""
    path = workplace() / ("c.safetensors" if content.startswith(b"safetensors") else "c.pth")
    path.write_bytes(content.removeprefix(b"safetensors"))
    try:
        state = read_checkpoint(path)
    except CheckpointError:
        return
    assert all(type(k) is str and type(v) is torch.Tensor for k, v in state.items())
    assert all(v.untyped_storage().nbytes() <= len(content) for v in state.values())
    for value in state.values():
        value.clone()


@functools.cache
def _models() -> tuple[bytes, ...]:
    """Graphs with subgraphs, functions and values in other files."""
    plain = search()
    nested = search()
    external = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [0.0])
    external.data_location = onnx.TensorProto.EXTERNAL
    external.external_data.add(key="location", value="../w")
    inner = onnx.helper.make_graph([], "inner", [], [], [external])
    nested.graph.node.append(onnx.helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner))
    function = onnx.helper.make_function(
        "d", "f", [], ["o"], [onnx.helper.make_node("Constant", [], ["o"], value=external)], []
    )
    called = search()
    called.functions.append(function)
    return tuple(m.SerializeToString() for m in (plain, nested, called))


@fuzzed(lambda: st.sampled_from(_models()).flatmap(mangled), lambda random: mangle(random.choice(_models()), random))
def onnx_outline(data: bytes) -> None:
    """``outline`` agrees with the onnx package wherever that can read the file, and never says less."""
    try:
        found = outline(data)
    except ValueError:
        return
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError):
        return
    assert found.external or not _keeps_external(model)
    assert [name for name, _, _ in found.inputs] == [value.name for value in model.graph.input]
    assert [name for name, _, _ in found.outputs] == [value.name for value in model.graph.output]


def _keeps_external(message: Any) -> bool:
    """Whether any tensor, anywhere in a message, points at another file; by the onnx package's own classes."""
    if isinstance(message, onnx.TensorProto):
        return message.data_location == onnx.TensorProto.EXTERNAL or len(message.external_data) > 0
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            inner = [value] if hasattr(value, "ListFields") else value
            if any(_keeps_external(one) for one in inner):
                return True
    return False


@fuzzed(lambda: mangled(_models()[0]), lambda random: mangle(_models()[0], random))
def graph_loading(data: bytes) -> None:
    """``load`` of a bundle whose search graph is hostile but fits its hash, and one frame if it loads at all."""
    folder = workplace() / "loading"
    if not folder.exists():
        tiny_bundle(folder)
    restate(folder, "search", data)
    try:
        model = load(folder, threads=1)
        features = model.template(np.zeros((2, 128, 128, 3), np.uint8))
        found = model.search(np.zeros((2, 256, 256, 3), np.uint8), features, score_map=True)
    except (BundleError, BackendError):
        return
    assert found.box.shape == (2, 4)
    assert np.isfinite(found.box).all()


_coordinate = st.one_of(st.floats(), st.floats(-1e4, 1e4), st.integers(-(10**30), 10**30))


def _seeded_box(random: Random) -> tuple[list[float], int, int, list[float]]:
    extent = 10.0 ** random.uniform(-3, 12)
    values = [random.uniform(-extent, extent) for _ in range(2)] + [10.0 ** random.uniform(-3, 12) for _ in range(2)]
    return values, random.randint(1, 70), random.randint(1, 70), [random.gauss(0.5, 1) for _ in range(4)]


@fuzzed(
    lambda: st.tuples(
        st.lists(_coordinate, min_size=3, max_size=5),
        st.integers(1, 70),
        st.integers(1, 70),
        st.lists(st.floats(-4, 4), min_size=4, max_size=4),
    ),
    _seeded_box,
)
def frames_and_boxes(case: tuple[list[float], int, int, list[float]]) -> None:
    """Any numbers as a box on any frame: cut, mapped back and clipped, or a sentence."""
    values, width, height, answer = case
    frame = np.full((height, width, 3), 255, np.uint8)
    try:
        box = Box.of(values)
        window = crop_window(box, 4.0)
    except BoxError:
        return
    crop(frame, window, 32)
    clipped = clip(map_back(answer, box, window.side), width, height)
    assert all(map(math.isfinite, clipped))
    assert clipped.w >= min(10, width)  # the published margin, where the frame has that many pixels
    assert clipped.h >= min(10, height)
