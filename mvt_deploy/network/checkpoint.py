"""Reads and writes checkpoints without running anything that is inside them."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..errors import CheckpointError
from ..files import write_whole
from .model import MVT
from .pickled import read_pickle

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)  # integers: counters
_PARALLEL = "module."
_LISTED = 12  # keys named in an error message before it says how many more there are


def _read_archive(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is not a checkpoint: expected a .safetensors file or a PyTorch zip archive (.pth.tar, .pt, .pth)."
        )
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        pickles = [m.filename for m in members if m.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip archive but holds no PyTorch checkpoint (no data.pkl).")
        # PyTorch compresses nothing, so what comes out is never larger than the file
        if sum(m.file_size for m in members) > path.stat().st_size:
            raise CheckpointError(f"{path} is not an archive of PyTorch's (it would unpack to more than its size).")
        prefix = pickles[0].removesuffix("/data.pkl")
        flat: dict[tuple[str, torch.dtype], Tensor] = {}

        def storage(key: str, dtype: torch.dtype) -> Tensor:
            if (key, dtype) not in flat:
                data = bytearray(archive.read(f"{prefix}/data/{key}"))
                flat[key, dtype] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            return flat[key, dtype]

        return read_pickle(archive.read(pickles[0]), storage)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint.

    Args:
        path: A ``.safetensors`` file, or a PyTorch archive that holds either ``{"net": state dict, ...}``, as
            published, or the state dict itself. The archive is read as data (see :mod:`.pickled`): objects of other
            classes than tensors and containers are left out.

    Raises:
        CheckpointError: The file is missing, unreadable or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist: give the path of a .safetensors or .pth.tar file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = _read_archive(path)
    except CheckpointError:
        raise
    except (SafetensorError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error}): is it complete?") from error
    except Exception as error:  # a hostile or truncated archive can fail in any way
        raise CheckpointError(f"checkpoint {path} is damaged ({type(error).__name__}: {error}).") from error
    net = content.get("net", content) if isinstance(content, dict) else None
    if not isinstance(net, dict) or not net or not all(isinstance(v, Tensor) for v in net.values()):
        raise CheckpointError(
            f"checkpoint {path} holds no state dict: expected tensors by name, or such a dict at 'net'."
        )
    return {str(k): v for k, v in net.items()}


def _listing(label: str, keys: list[str]) -> str:
    listed = ", ".join(keys[:_LISTED]) + (f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else "")
    return f"{label}: {listed}"


def load_checkpoint(path: str | os.PathLike[str], fusion: bool = True) -> MVT:
    """Load a network from a checkpoint, which must hold exactly its parameters.

    Args:
        path: A ``.safetensors`` file or a PyTorch archive.
        fusion: False keeps attention within each image (the paper's ablation without fusion).

    Returns:
        The network in evaluation mode, as float32.

    Raises:
        CheckpointError: The file is unreadable, or keys are missing, unexpected, wrongly shaped or not finite (all of
            them are listed), or carry the prefix of ``torch.nn.DataParallel``.
    """
    state = read_checkpoint(path)
    if all(key.startswith(_PARALLEL) for key in state):
        raise CheckpointError(
            f"the keys of checkpoint {path} begin with '{_PARALLEL}', which torch.nn.DataParallel adds: save the state "
            "dict of the network inside it, model.module.state_dict()."
        )
    model = MVT(fusion)
    expected = model.state_dict()
    counters = {k for k in expected if k.endswith("num_batches_tracked")}  # not used in inference; some files drop them
    problems = []
    if missing := sorted(expected.keys() - state.keys() - counters):
        problems.append(_listing("missing", missing))
    if unexpected := sorted(state.keys() - expected.keys()):
        problems.append(_listing("unexpected", unexpected))
    shared = [k for k in expected if k in state]
    if types := [f"{k} {state[k].dtype}" for k in shared if state[k].dtype not in _DTYPES]:
        problems.append(_listing("wrong type", types))
    if shapes := [
        f"{k} {tuple(state[k].shape)} instead of {tuple(expected[k].shape)}"
        for k in shared
        if state[k].shape != expected[k].shape
    ]:
        problems.append(_listing("wrong shape", shapes))
    sound = [k for k in shared if state[k].shape == expected[k].shape and state[k].dtype in _DTYPES]
    if broken := [k for k in sound if not torch.isfinite(state[k].to(expected[k].dtype)).all()]:
        problems.append(_listing("not finite", broken))
    if problems:
        raise CheckpointError(f"checkpoint {path} does not fit MVT; " + "; ".join(problems) + ".")
    model.load_state_dict({k: state.get(k, expected[k]).to(expected[k].dtype) for k in expected})
    return model.eval()


def save_checkpoint(model: MVT, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Write a network's state dict as safetensors under the published key names, whole or not at all.

    Args:
        model: The network, on any device.
        path: The file; its folder is created.
        metadata: Entries for the file's header. The same parameters and entries give the same bytes.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    content = save(state, metadata={"format": "pt", "network": "mvt", **(metadata or {})})
    write_whole(Path(path), _ordered(content))  # safetensors' own save_file gives the file the mode 0600


def _ordered(content: bytes) -> bytes:
    """A safetensors file with its metadata in alphabetical order: the library writes it in a random one."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[end:]
