"""Checkpoints: strict, and nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
from golden import CHECKPOINT

torch = pytest.importorskip("torch")

from safetensors.torch import save_file

from mvt_deploy.assets import asset
from mvt_deploy.errors import CheckpointError
from mvt_deploy.network import MVT, load_checkpoint, read_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def model() -> MVT:
    torch.manual_seed(0)
    return MVT().eval()


class Trap:
    """Writes a file when it is unpickled by anything that calls what it finds."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.place,)


@pytest.mark.parametrize("where", ["made here", "shared"] if CHECKPOINT.is_file() else ["made here"])
def test_published_layout_is_read_without_its_classes(golden_checkpoint: Path, where: str) -> None:
    path = golden_checkpoint if where == "made here" else CHECKPOINT
    state = read_checkpoint(path)
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        assert b"lib.train.admin.settings" in archive.read(name)  # the classes nobody has
    assert sum(v.numel() for k, v in state.items() if k.endswith(("weight", "bias"))) == 5_480_405


def test_both_formats_give_the_same_network(model: MVT, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "a.safetensors", {"epoch": "3"})
    torch.save({"net": model.state_dict(), "epoch": 3}, tmp_path / "b.pth.tar")
    torch.save(model.state_dict(), tmp_path / "c.pt")
    image = torch.rand(1, 3, 128, 128)
    with torch.inference_mode():
        wanted = model.encode_template(image).tokens
        for name in ("a.safetensors", "b.pth.tar", "c.pt"):
            assert torch.equal(load_checkpoint(tmp_path / name).encode_template(image).tokens, wanted)


def test_torch_own_reader_agrees(model: MVT, tmp_path: Path) -> None:
    views = {"net": {"t": torch.arange(12.0).reshape(3, 4).t(), "half": torch.ones(2).half(), "empty": torch.empty(0)}}
    torch.save(views, tmp_path / "views.pt")
    ours = read_checkpoint(tmp_path / "views.pt")
    for name, tensor in torch.load(tmp_path / "views.pt")["net"].items():
        assert torch.equal(ours[name], tensor)
        assert ours[name].dtype == tensor.dtype


def test_nothing_in_the_file_runs(model: MVT, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    torch.save({"net": model.state_dict(), "settings": Trap(str(trap))}, tmp_path / "trap.pth.tar")
    load_checkpoint(tmp_path / "trap.pth.tar")
    assert not trap.exists()


def test_every_wrong_key_is_listed(model: MVT, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    del state["neck.BN_x.weight"]
    state["surprise"] = torch.zeros(1)
    state["neck.BN_z.bias"] = torch.zeros(3)
    state["backbone.conv_1.block.conv.weight"][0, 0, 0, 0] = float("nan")
    torch.save({"net": state}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "bad.pth")
    message = str(caught.value)
    assert "missing: neck.BN_x.weight" in message
    assert "unexpected: surprise" in message
    assert "neck.BN_z.bias (3,) instead of (128,)" in message
    assert "not finite: backbone.conv_1.block.conv.weight" in message


def test_keys_of_data_parallel_get_one_sentence(model: MVT, tmp_path: Path) -> None:
    torch.save({f"module.{key}": value for key, value in model.state_dict().items()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert "module.state_dict()" in str(error.value)
    assert "missing" not in str(error.value)


def test_a_checkpoint_has_the_mode_of_any_new_file(model: MVT, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "a.safetensors")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_counters_may_be_absent(model: MVT, tmp_path: Path) -> None:
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save({"net": state}, tmp_path / "lean.pth")
    load_checkpoint(tmp_path / "lean.pth")


def archive_of(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.pth", None),
        ("empty.pth", b""),
        ("text.pth", b"hello"),
        ("cut.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{"),
        ("other.zip", archive_of(b"").replace(b"data.pkl", b"atad.pkl")),
        ("cut.pth", archive_of(b"\x80\x02}")),
        ("list.pth", archive_of(pickle.dumps([1, 2]))),
        ("deep.pth", archive_of(pickle.dumps({"net": {"a": 1}}))),
        ("call.pth", archive_of(b"cbuiltins\neval\n(S'1/0'\ntR.")),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / name)


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
NET = b"X\x03\x00\x00\x00net"


def named(shape: bytes, stride: bytes) -> bytes:
    """Opcodes of ``{"net": {"a": tensor}}`` over the four values at key 0."""
    tensor = REBUILD + b"(" + FLOATS + b"K\x00" + shape + stride + b"\x89}tR"
    return b"}" + NET + b"}X\x01\x00\x00\x00a" + tensor + b"ss"


def write(path: Path, opcodes: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + opcodes + b".")
        archive.writestr("x/data/0", bytes(16))
    return path


def test_opcodes_written_by_hand_make_a_tensor(tmp_path: Path) -> None:
    state = read_checkpoint(write(tmp_path / "c.pth", named(b"K\x04\x85", b"K\x01\x85")))
    assert state["a"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "opcodes",
    [
        b"Nr\xff\xff\xff\x7f",  # a memo as long as the number says: 32 GB
        b"\x8b\xff\xff\xff\x7f",  # an integer of two gigabytes
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",  # bytes longer than any memory
        b"})" + b"\x85" * 300_000 + b"K\x01s",  # hashing this key would overflow the C stack
        b"]" * 200_000 + b"a" * 199_999,  # nested lists
        REBUILD + b"}X\x08\x00\x00\x00__code__Nsb",  # attributes of the reader's own functions
        named(b"J\xff\xff\xff\x7f\x85", b"K\x00\x85"),  # 8 GB of one value
        named(b"K\x04\x85", b"J\xff\xff\xff\xff\x85"),  # backwards
        named(b"K\x04\x85", b")"),  # sides without strides
        b"\x82\x01",  # an extension registered somewhere
        b"",
        b"R",
        b"t",
    ],
)
def test_pickles_that_would_harm_their_reader(tmp_path: Path, opcodes: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_checkpoint(write(tmp_path / "c.pth", opcodes))


def test_a_dictionary_cannot_be_given_attributes(tmp_path: Path) -> None:
    hidden = b"}X\x05\x00\x00\x00itemscos\nsystem\nsb"  # of an OrderedDict it would hide the method 'items'
    content = named(b"K\x04\x85", b"K\x01\x85").replace(b"}X\x01", b"ccollections\nOrderedDict\n)RX\x01", 1)
    path = write(tmp_path / "c.pth", content[:-1] + hidden + b"s")
    assert list(read_checkpoint(path)) == ["a"]


def test_an_archive_never_unpacks_to_more_than_its_size(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/data/0", bytes(10_000_000))
    with pytest.raises(CheckpointError, match="unpack to more"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_types_and_values_float32_cannot_hold(model: MVT, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    first, second = "neck.BN_x.weight", "neck.BN_z.weight"
    state[first] = state[first].double() * 0 + 1e300
    state[second] = state[second].to(torch.complex64)
    save_file(state, tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match=f"wrong type: {second} torch.complex64; not finite: {first}"):
        load_checkpoint(tmp_path / "c.safetensors")


def test_a_tensor_cannot_reach_outside_its_storage(tmp_path: Path) -> None:
    torch.save({"net": {"a": torch.arange(4.0)}}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        files = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data[:4] if name.endswith("/data/0") else data)
    with pytest.raises(CheckpointError, match="outside its storage"):
        read_checkpoint(tmp_path / "b.pt")


def test_saving_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    """The shipped file too: its digest in a manifest says which weights a bundle was made from."""
    shipped = asset("mvt.safetensors")
    model = load_checkpoint(shipped)
    for number in range(4):  # the library orders metadata at random
        save_checkpoint(model, tmp_path / f"{number}.safetensors")
        assert (tmp_path / f"{number}.safetensors").read_bytes() == shipped.read_bytes()
