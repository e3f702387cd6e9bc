"""Reading and writing checkpoints without running anything that is inside them."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import CheckpointError
from .model import MVT

_LISTED = 12  # keys named in an error message before it says how many more there are


class _Inert:
    """Stands where a pickled object of an unknown class was; it keeps nothing and does nothing."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass

    def append(self, _item: object) -> None:
        """Takes the items of a pickled list subclass."""

    def extend(self, _items: object) -> None:
        """Takes the items of a pickled list subclass."""

    def add(self, _item: object) -> None:
        """Takes the items of a pickled set subclass."""

    def __setitem__(self, _key: object, _value: object) -> None:
        pass


def _storage_kinds() -> dict[str, torch.dtype]:
    kinds = {
        "FloatStorage": torch.float32,
        "DoubleStorage": torch.float64,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.bool,
    }
    return kinds


_STORAGES = _storage_kinds()
_SAFE = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
}


class _Storage:
    """The bytes of one stored array as a flat tensor, with the type the pickle names."""

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_rest: object) -> Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without storage")
    flat = storage.flat
    shape, stride = [int(n) for n in shape], [int(n) for n in stride]
    last = int(offset) + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if int(offset) < 0 or min([*shape, *stride, 0]) < 0 or (0 not in shape and last >= flat.numel()):
        raise pickle.UnpicklingError("a tensor that reaches outside its storage")
    return torch.as_strided(flat, shape, stride, int(offset)).clone()


def _rebuild_parameter(data: Any, *_rest: object) -> Any:
    return data


class _TensorUnpickler(pickle.Unpickler):
    """Builds tensors and plain containers; every other class becomes :class:`_Inert`, and no global is ever called."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(archive.open(f"{prefix}/data.pkl"))
        self._archive, self._prefix = archive, prefix
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return _SAFE.get((module, name), _Inert)

    def persistent_load(self, reference: Any) -> _Storage:
        # ("storage", kind, key, location, number of elements)
        kind, key = reference[1], str(reference[2])
        dtype = kind if isinstance(kind, torch.dtype) else torch.uint8
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._prefix}/data/{key}"))
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self._storages[key] = _Storage(flat)
        return self._storages[key]


def _read_pickled(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is not a checkpoint: expected a .safetensors file or a PyTorch zip archive (.pth.tar, .pt, .pth)."
        )
    with zipfile.ZipFile(path) as archive:
        pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip archive but holds no PyTorch checkpoint (no data.pkl).")
        return _TensorUnpickler(archive, pickles[0].removesuffix("/data.pkl")).load()


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict of a checkpoint, without running anything from the file.

    ``.safetensors`` is read as such. A PyTorch archive holds either ``{"net": state dict, ...}`` as published or the
    state dict itself; objects of classes that are not tensors or plain containers become inert placeholders.

    Raises:
        CheckpointError: the file is missing, unreadable or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist: give the path of a .safetensors or .pth.tar file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = _read_pickled(path)
    except CheckpointError:
        raise
    except (SafetensorError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error}): is it complete?") from error
    except Exception as error:  # a hostile or truncated pickle can fail in any way
        raise CheckpointError(f"checkpoint {path} is damaged ({type(error).__name__}: {error}).") from error
    net = content.get("net", content) if isinstance(content, dict) else None
    if not isinstance(net, dict) or not net or not all(isinstance(v, Tensor) for v in net.values()):
        raise CheckpointError(
            f"checkpoint {path} holds no state dict: expected tensors by name, or such a dict at 'net'."
        )
    return {str(k): v for k, v in net.items()}


def _some(label: str, keys: list[str]) -> str:
    listed = ", ".join(keys[:_LISTED]) + (f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else "")
    return f"{label}: {listed}"


def load_checkpoint(path: str | os.PathLike[str], joint: bool = True) -> MVT:
    """An :class:`MVT` in evaluation mode with exactly the checkpoint's parameters, as float32.

    Raises:
        CheckpointError: unreadable, or keys are missing, unexpected, wrongly shaped or not finite (all are listed).
    """
    state = read_checkpoint(path)
    model = MVT(joint)
    expected = model.state_dict()
    counters = {k for k in expected if k.endswith("num_batches_tracked")}  # not used in inference; some files drop them
    problems = []
    if missing := sorted(expected.keys() - state.keys() - counters):
        problems.append(_some("missing", missing))
    if unexpected := sorted(state.keys() - expected.keys()):
        problems.append(_some("unexpected", unexpected))
    shared = [k for k in expected if k in state]
    if shapes := [
        f"{k} {tuple(state[k].shape)} instead of {tuple(expected[k].shape)}"
        for k in shared
        if state[k].shape != expected[k].shape
    ]:
        problems.append(_some("wrong shape", shapes))
    if broken := [k for k in shared if not torch.isfinite(state[k].double()).all()]:
        problems.append(_some("not finite", broken))
    if problems:
        raise CheckpointError(f"checkpoint {path} does not fit MVT; " + "; ".join(problems) + ".")
    model.load_state_dict({k: state.get(k, expected[k]).to(expected[k].dtype) for k in expected})
    return model.eval()


def save_checkpoint(model: MVT, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Write the state dict as safetensors under the published key names, whole or not at all."""
    path = Path(path)
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(state, temporary, metadata={"format": "pt", "network": "mvt", **(metadata or {})})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
