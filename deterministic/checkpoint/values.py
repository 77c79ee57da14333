"""Values of any kind as JSON, with a tag where JSON has no word for one, and never as code: there is no pickle here.

JSON's own values stand for themselves. A mapping with one key that begins with "$" is a tag: {"$tuple": [1, 2]}.
"""

from __future__ import annotations

import base64
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import CheckpointError, cut
from .boxes import Sharded
from .tensors import DTYPES, LoadedTensors, StoredTensors, device_named

_FACTORIES: Mapping[str, Callable[[], Any]] = {
    kind.__name__: kind for kind in (bool, dict, float, int, list, set, str, tuple)
}

_DEEPEST = 100  # containers in containers; to read one takes up to seven of the thousand calls that Python allows

_MOST_ALIKE = 100
"""Keys of one hash, as multiples of 2**61 - 1 are: a set or dict compares each with all others of its hash."""

_LONG = 1 << 64  # Python turns no number of some thousand digits into decimal ones

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # two halves of a character, which JSON makes one of


class Called(NamedTuple):
    """A value that is written as it is, and called by a name of its own in errors and in the file."""

    name: str
    value: Any


class ValueEncoder:
    """Writes values as JSON; the memory of their tensors and arrays is added to the storages."""

    def __init__(self, tensors: StoredTensors) -> None:
        self.tensors = tensors
        self._depth = 0

    def encode(self, value: Any, path: str) -> Any:
        """Return a value as JSON, or refuse it with a CheckpointError that calls it by its path.

        It may be None, bool, int, float, complex, str, bytes; a list, tuple, dict, OrderedDict, defaultdict of a
        builtin type, Counter, deque, set, frozenset, range, slice; a tensor, its dtype, device and size; numpy's array
        or scalar of numbers. A subclass of these is something else.
        """
        if type(value) is str and not value.isascii() and _PAIR.search(value):
            raise _refused(value, path, "a text with surrogates that are a pair")
        if type(value) is int and abs(value) >= _LONG:
            return {"$int": hex(value)}
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, torch.Tensor):
            try:
                return {"$tensor": self.tensors.describe(value, path)}
            except (TypeError, RuntimeError, NotImplementedError) as error:
                raise _refused(value, path, str(error).splitlines()[0]) from error
        write = _WRITERS.get(type(value))
        if write is None:
            if not isinstance(value, np.generic) or not _is_plain(value.dtype) or value.dtype.kind in "SU":
                raise _refused(value, path)
            return {"$scalar": [value.dtype.str, base64.b64encode(value.tobytes()).decode("ascii")]}
        if isinstance(value, (set, frozenset, dict)) and _are_alike(value):
            raise _refused(value, path, f"more than {_MOST_ALIKE} keys with one hash")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refused(value, path, f"containers nested deeper than {_DEEPEST}, or one that contains itself")
        try:
            return write(self, value, path)
        finally:
            self._depth -= 1

    def items(self, value: Any, path: str) -> list[Any]:
        return [self.encode(item, f"{path}[{index}]") for index, item in enumerate(value)]

    def pairs(self, value: Mapping[Any, Any], path: str) -> list[Any]:
        return [
            [self.encode(key, f"{path}'s key"), self.encode(item, f"{path}[{cut(key)}]")] for key, item in value.items()
        ]

    def mapping(self, value: Mapping[Any, Any], path: str) -> Any:
        if all(type(key) is str and not key.startswith("$") and not _PAIR.search(key) for key in value):
            return {key: self.encode(item, f"{path}.{key}") for key, item in value.items()}
        return {"$dict": self.pairs(value, path)}

    def ordered(self, value: OrderedDict[Any, Any], path: str) -> Any:
        pairs, more = self.pairs(value, path), vars(value)
        if more.keys() - {"_metadata"}:
            raise _refused(value, path, f"an OrderedDict with attributes: {', '.join(more)}")
        if not more:
            return {"$OrderedDict": pairs}
        # Where a Module and a TensorDict say what their state does not.
        return {"$state": [pairs, self.encode(more["_metadata"], f"{path}._metadata")]}

    def number(self, value: float) -> Any:
        # Whatever is not finite has no word in JSON; a NaN has bits of its own, too.
        return value if abs(value) < float("inf") else {"$float": np.array(value, "<f8").tobytes().hex()}

    def default(self, value: defaultdict[Any, Any], path: str) -> Any:
        factory = value.default_factory
        name = getattr(factory, "__name__", "")
        if factory is not None and _FACTORIES.get(name) is not factory:
            raise _refused(factory, f"{path}.default_factory")
        return {"$defaultdict": [name, self.pairs(value, path)]}

    def set(self, value: Any, path: str) -> list[Any]:
        return sorted(self.items(value, path), key=repr)  # their own order depends on PYTHONHASHSEED

    def array(self, value: np.ndarray, path: str) -> Any:
        if not _is_plain(value.dtype):
            raise _refused(value, path, f"an array of dtype {value.dtype}")
        order: Any = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        data = bytearray(value.tobytes(order))
        plain = np.frombuffer(data, np.uint8) if value.nbytes else np.empty(0, np.uint8)
        held = self.tensors.describe(torch.from_numpy(plain), path)
        return {"$array": [value.dtype.str, list(value.shape), order, held]}


_WRITERS: Mapping[type, Callable[[ValueEncoder, Any, str], Any]] = {
    float: lambda encoder, value, path: encoder.number(value),
    complex: lambda encoder, value, path: {"$complex": [encoder.number(value.real), encoder.number(value.imag)]},
    bytes: lambda encoder, value, path: {"$bytes": base64.b64encode(value).decode("ascii")},
    list: ValueEncoder.items,
    dict: ValueEncoder.mapping,
    tuple: lambda encoder, value, path: {"$tuple": encoder.items(value, path)},
    set: lambda encoder, value, path: {"$set": encoder.set(value, path)},
    frozenset: lambda encoder, value, path: {"$frozenset": encoder.set(value, path)},
    deque: lambda encoder, value, path: {"$deque": [encoder.items(value, path), value.maxlen]},
    range: lambda encoder, value, path: {"$range": encoder.items((value.start, value.stop, value.step), path)},
    slice: lambda encoder, value, path: {"$slice": encoder.items((value.start, value.stop, value.step), path)},
    Counter: lambda encoder, value, path: {"$Counter": encoder.pairs(value, path)},
    OrderedDict: ValueEncoder.ordered,
    defaultdict: ValueEncoder.default,
    np.ndarray: ValueEncoder.array,
    Called: lambda encoder, value, path: encoder.encode(value.value, value.name),
    Sharded: lambda encoder, value, path: {"$sharded": value.to_plain()},
    torch.Size: lambda encoder, value, path: {"$size": list(value)},
    torch.dtype: lambda encoder, value, path: {"$dtype": str(value).removeprefix("torch.")},
    torch.device: lambda encoder, value, path: {"$device": str(value)},
}


def decode(plain: Any, tensors: LoadedTensors) -> Any:
    """Return the value that `ValueEncoder.encode` wrote; raise whatever comes of anything else."""
    if isinstance(plain, list):
        return [item if type(item) is int else decode(item, tensors) for item in plain]  # words of generators are many
    if not isinstance(plain, dict):
        return plain
    tag = next(iter(plain), "")
    if not tag.startswith("$"):
        return {key: decode(item, tensors) for key, item in plain.items()}
    if tag == "$tensor":
        return tensors.tensor(plain[tag])
    if tag == "$array":
        dtype, shape, order, held = plain[tag]
        return tensors.tensor(held).numpy().view(_numbers(dtype)).reshape(shape, order=order)
    return _READERS[tag](decode(plain[tag], tensors))


def _are_alike(keys: Iterable[Any]) -> bool:
    """Return whether a set or mapping would take far longer than these are many."""
    return max(Counter(map(hash, keys)).values(), default=0) > _MOST_ALIKE


def _mapping(pairs: Any) -> dict[Any, Any]:
    if _are_alike(key for key, _ in pairs):
        raise ValueError(f"more than {_MOST_ALIKE} keys with one hash")
    return dict(pairs)


def _state(parts: Any) -> OrderedDict[Any, Any]:
    state: Any = OrderedDict(_mapping(parts[0]))
    state._metadata = parts[1]
    return state  # type: ignore[no-any-return]


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Return whether the text of a dtype says all of it: bytes that are no references, without names."""
    try:
        return not dtype.hasobject and np.dtype(dtype.str) == dtype
    except TypeError:
        return False


def _numbers(text: Any) -> np.dtype[Any]:
    dtype = np.dtype(text if type(text) is str else "O")
    if not _is_plain(dtype):
        raise ValueError(f"the dtype {text!r}")
    return dtype


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "$float": lambda text: np.frombuffer(bytes.fromhex(text), "<f8").item(),
    "$int": lambda text: int(text, 16),
    "$complex": lambda parts: complex(*parts),
    "$bytes": base64.b64decode,
    "$tuple": tuple,
    "$set": lambda items: set(_mapping([(item, 0) for item in items])),
    "$frozenset": lambda items: frozenset(_mapping([(item, 0) for item in items])),
    "$dict": _mapping,
    "$OrderedDict": lambda pairs: OrderedDict(_mapping(pairs)),
    "$state": _state,
    "$Counter": lambda pairs: Counter(_mapping(pairs)),
    "$defaultdict": lambda parts: defaultdict(_FACTORIES[parts[0]] if parts[0] else None, _mapping(parts[1])),
    "$deque": lambda parts: deque(parts[0], parts[1]),
    "$range": lambda parts: range(*parts),
    "$slice": lambda parts: slice(*parts),
    "$scalar": lambda parts: np.frombuffer(base64.b64decode(parts[1]), _numbers(parts[0]))[0],
    "$sharded": Sharded.from_plain,
    "$size": torch.Size,
    "$dtype": lambda name: DTYPES[name],
    "$device": device_named,
}


def _refused(value: Any, path: str, actual: str = "") -> CheckpointError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return CheckpointError(
        f"{path} cannot be stored in a checkpoint; nothing was written",
        (f"found: {actual or f'a value of {kind}'}", "expected: tensors, numbers, text, containers of these"),
        "Give its owner a state_dict() of such values, or convert it: str(), int(), a list.",
    )
