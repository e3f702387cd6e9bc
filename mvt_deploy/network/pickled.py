"""Reading a pickle as data: opcodes build tensors, lists, tuples and dictionaries, and nothing is looked up or called.

``pickle.Unpickler`` is not used: even with a closed ``find_class`` a hostile file can make it set attributes of
whatever it is given, reserve memory by a number in the file, or hash a tuple nested so deep that the process dies. The
opcodes are read by :mod:`pickletools`, and mean what its documentation says.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

INERT = object()
"""Stands where an object of any other class was."""

_STORAGES = {
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
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_POPPED = {"NEWOBJ_EX": 3, "FROZENSET": 0, "INST": 0, "PERSID": 0}  # values under what becomes INERT
_MARKED = frozenset({"FROZENSET", "INST"})


class DamagedError(Exception):
    """The bytes are no pickle, or describe a tensor its storage cannot hold."""


@dataclass(frozen=True, slots=True)
class _Global:
    """The name of a class or function; it is compared with the few names known, never imported."""

    module: object
    name: object


_TENSOR = _Global("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = _Global("torch._utils", "_rebuild_parameter")
_DICTIONARIES = (
    _Global("collections", "OrderedDict"),
    _Global("builtins", "dict"),
    _Global("__builtin__", "dict"),
)


def read_pickle(data: bytes, storage: Callable[[str, torch.dtype], Tensor]) -> Any:
    """The content of a pickle that ``torch.save`` wrote: plain values, containers and tensors.

    Args:
        data: the pickle.
        storage: gives the stored array of a key as a flat tensor of a type.

    Returns:
        The content. Objects of other classes are :data:`INERT`; entries of dictionaries whose keys are no strings are
        left out. Tensors are views of their storages.

    Raises:
        DamagedError: the bytes are no whole pickle, or a tensor reaches outside its storage.
    """
    reader = _Reader(storage)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return reader.stack[-1]
            reader.step(opcode.name, argument)
    except (IndexError, KeyError, TypeError, ValueError, RuntimeError, RecursionError, OverflowError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    raise DamagedError("it ends in the middle")


class _Reader:
    def __init__(self, storage: Callable[[str, torch.dtype], Tensor]) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storage = storage

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _VALUES:
            stack.append(_VALUES[name])
        elif name in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[name])))
        elif name in _POPPED:
            self._pop_marked() if name in _MARKED else self._pop(_POPPED[name])
            stack.append(INERT)
        else:
            self._structure(name, argument)

    def _structure(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._pop_marked()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(INERT)
            case "TUPLE":
                stack.append(tuple(self._pop_marked()))
            case "LIST":
                stack.append(self._pop_marked())
            case "DICT":
                stack.append(_filled({}, self._pop_marked()))
            case "APPEND":
                _extend(stack[-2], self._pop(1))
            case "APPENDS":
                items = self._pop_marked()
                _extend(stack[-1], items)
            case "SETITEM":
                _filled(stack[-3], self._pop(2))
            case "SETITEMS":
                items = self._pop_marked()
                _filled(stack[-1], items)
            case "ADDITEMS":
                self._pop_marked()
            case "GLOBAL":
                stack.append(_Global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_Global(*self._pop(2)))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._pop(2)
                stack.append(_made(function, arguments))
            case "OBJ":
                function, *rest = self._pop_marked()
                stack.append(_made(function, tuple(rest)))
            case "BUILD":
                self._pop(1)  # attributes: nobody needs them
            case "BINPERSID":
                stack.append(self._stored(stack.pop()))
            case _:
                raise ValueError(f"opcode {name} has no place in a checkpoint")

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError("nothing left on the stack")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _pop_marked(self) -> list[Any]:
        mark = self._marks.pop()
        taken = self.stack[mark:]
        del self.stack[mark:]
        return taken

    def _stored(self, reference: Any) -> Any:
        # ("storage", kind, key, location, number of elements)
        if not isinstance(reference, tuple) or len(reference) < 3 or not isinstance(reference[2], str):
            return INERT
        kind = reference[1]
        if not isinstance(kind, _Global) or kind.module != "torch" or kind.name not in _STORAGES:
            return INERT
        return self._storage(reference[2], _STORAGES[str(kind.name)])


def _made(function: Any, arguments: Any) -> Any:
    """What a call in the file stands for; only the names ``torch.save`` writes mean anything."""
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        return INERT
    if function == _TENSOR:
        return _tensor(*arguments[:4])
    if function == _PARAMETER:
        return arguments[0]
    return {} if function in _DICTIONARIES else INERT


def _tensor(flat: Any, offset: Any, shape: Any, stride: Any) -> Any:
    if not isinstance(flat, Tensor):
        return INERT  # of a type no checkpoint of MVT has
    if not all(type(n) is int and n >= 0 for n in (offset, *shape, *stride)) or len(shape) != len(stride):
        raise DamagedError("a tensor whose shape is no list of sizes")
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if math.prod(shape) > flat.numel() or (0 not in shape and last >= flat.numel()):
        raise DamagedError("a tensor that reaches outside its storage")
    return torch.as_strided(flat, tuple(shape), tuple(stride), offset)


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)


def _filled(target: Any, items: list[Any]) -> Any:
    """The dictionary with keys and values in turn; other targets take nothing."""
    if isinstance(target, dict):
        target.update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if isinstance(k, str))
    return target
