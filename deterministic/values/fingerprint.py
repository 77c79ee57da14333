"""`fingerprint`: 32 hex digits for the values in an object, wherever and however it holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from torch import Tensor
from xxhash import xxh3_128_digest

from ..errors import explain
from .bits import Unreadable
from .kinds import Child, Node, layout_of, node_of, takers
from .sharded import is_sharded, whole

_DEEPEST = 100  # values in values; to write one takes up to six of the thousand calls that Python allows

_LONGEST_KEY = 40
_EXPECTED = (
    "expected: tensors, modules, optimizers and what has a state_dict, numpy, generators, numbers, text, None, enums, "
    "paths, dataclasses, and containers of these"
)


def fingerprint(obj: object, *, layout: bool = False, full: bool = True) -> str:
    """Return a digest of the values in `obj`: equal values give equal digests on every device, machine and version.

    What counts are logical values, bit by bit (-0.0 is not 0.0, and two NaNs with other payloads differ), dtypes,
    shapes, names, keys, and which kind of container holds what. What does not count: the device, strides, how a view
    came about, `requires_grad`, the byte order of an array, the order of a dict or a set.

    A module counts as the dict of its `state_dict`, with the buffers that are not saved; `training`, hooks and the
    class do not count. Anything else with a `state_dict`, as optimizers and schedulers, counts as that dict. A
    generator counts by its state. Dataclasses and named tuples count by the name of their class and their fields, and
    those that are a dict, a list or a number by that, too.

    A tensor that is spread over ranks (DTensor: FSDP2's `fully_shard`, tensor parallelism) counts as the whole that it
    stands for: the digest is that of the module that is not sharded, on every rank and any number of ranks. To be
    gathered, one tensor after the other, it takes all ranks: with such tensors every rank must call it alike.

    The digest is xxh3-128. It finds accidental differences, and does not protect against somebody who wants two
    values to look alike.

    No process-global state is read or changed, no generator draws, no device is initialized, and no mode that is
    active sees an operation; a `state_dict` runs the code of its class. Thread-safe, as long as no other thread
    changes `obj` meanwhile.

    Args:
        obj: A tensor, module, optimizer, scheduler, numpy array or scalar, generator, number, str, bytes, None, Enum,
            path, dtype, device, range, slice, `functools.partial`, dataclass, or a container of these.
        layout: Whether it counts too how values lie in memory: the strides and the storage offset of each tensor, its
            conjugate and negative bits, whether a sparse one is coalesced, and the strides of each array.
        full: False for what this rank has itself of tensors that are spread over ranks, and how they are placed;
            nothing is sent then.

    Returns:
        32 hexadecimal digits.

    Raises:
        TypeError: Something in `obj` has no values that could be told: a function, an object without `state_dict`, a
            meta or fake tensor. The text says where in `obj` it is.
        ValueError: Something in `obj` contains itself, or lies below 100 others.

    Example:
        >>> import torch
        >>> weights = {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "step": 7}
        >>> fingerprint(weights)
        'f5d7528186037c41ff02df123e6dc891'
        >>> fingerprint({"step": 7, "weight": torch.tensor([[1.0, 3.0], [2.0, 4.0]]).T}) == fingerprint(weights)
        True
        >>> fingerprint({"step": 7.0, "weight": weights["weight"]}) == fingerprint(weights)
        False
    """
    return _Walk(layout, full).digest(obj).hex()


def fingerprint_if_any(obj: object, known: Mapping[int, tuple[Any, bytes]] | None = None) -> str | None:
    """Return the fingerprint, of sharded tensors that of what this rank has: so it may be asked for on one rank alone.

    It is None if something in the object has none, as a class has, or contains itself. Of values of which the digest is
    known, by their `id`, it is not taken again.
    """
    with suppress(TypeError, ValueError):
        return _Walk(layout=False, full=False, known=known).digest(obj).hex()
    return None


def digest_of(tensor: Tensor, of_bytes: bytes) -> bytes:
    """Return the 16 bytes of a plain tensor that a walk makes, given the digest of its values' bytes; reads none."""
    return _Walk(layout=False, full=False)._write(node_of(tensor, of_bytes))


class _Walk:
    """One walk through an object.

    A value is written as its kind and its parts, each preceded by its length, so that two values of different structure
    are never written alike; what it holds enters as the 16 bytes of its own.
    """

    def __init__(self, layout: bool, full: bool, known: Mapping[int, tuple[Any, bytes]] | None = None) -> None:
        self._layout, self._full = layout, full
        self._steps: list[Child] = []
        self._open: set[int] = set()
        self._met = dict(known or {})  # with the value, lest another one gets its id
        self._count = 0

    def digest(self, value: Any) -> bytes:
        """Return the 16 bytes of a value."""
        if id(value) in self._met:
            return self._met[id(value)][1]
        if id(value) in self._open:
            facts = (f"found: {type(value).__qualname__}", "expected: no cycle")
            self._fail(ValueError, "a value contains itself", facts, "Take the reference to it out, or pass its parts.")
        if len(self._steps) > _DEEPEST:
            facts = (f"found: more than {_DEEPEST} values around one", f"expected: {_DEEPEST} at most")
            self._fail(ValueError, "values are nested too deep", facts, "Flatten them, or pass the parts.")
        take = takers(type(value))[0]
        if take is None:
            self._refuse(value)
        self._open.add(id(value))
        count = self._count
        try:
            taken = whole(value) if self._full and is_sharded(value) else value
            node = take(taken)
            if self._layout and isinstance(node, Node):
                node = node._replace(parts=(*node.parts, *layout_of(taken)))
            del taken  # it may be the largest that there is
            result = self._write(node)
        except NotImplementedError:  # a generator that has no state, as of the machine's entropy
            self._refuse(value)
        except Unreadable as error:
            error.args = (explain(error.differs, (*error.values, self._where()), error.remedy),)
            raise
        self._open.remove(id(value))
        if self._count - count >= 16:  # one that holds less is as soon written again
            self._met[id(value)] = value, result
        return result

    def _write(self, part: Child | Node) -> bytes:
        if isinstance(part, Child):
            self._count += 1
            self._steps.append(part)
            result = self.digest(part.value)
            self._steps.pop()
            return result
        kind, parts, group = part
        written = [one if isinstance(one, bytes) else self._write(one) for one in parts]
        if group:
            groups = sorted(written[start : start + group] for start in range(0, len(written), group))
            written = [one for each in groups for one in each]
        return xxh3_128_digest(b"".join([len(one).to_bytes(8, "little") + one for one in (kind.encode(), *written)]))

    def _refuse(self, value: Any) -> NoReturn:
        facts = (f"found: {type(value).__module__}.{type(value).__qualname__}", _EXPECTED)
        remedy = "Leave it out, or give its class a state_dict() that returns such values."
        self._fail(TypeError, "a value is of a kind that has no fingerprint", facts, remedy)

    def _fail(self, error: type[Exception], differs: str, values: tuple[str, ...], remedy: str) -> NoReturn:
        raise error(explain(differs, (*values, self._where()), remedy)) from None

    def _where(self) -> str:
        steps = [_shown(*step) for step in self._steps]
        steps[6:-6] = [" ... "] * (len(steps) > 12)  # enough to find it by
        return f"where: {''.join(steps).strip() or 'the value itself'}"


def _shown(step: str, key: object, _: object) -> str:
    """Return one step of the way to a value, as one would write it."""
    if step in ("attribute", "call"):
        return f".{str(key)[:_LONGEST_KEY]}{'()' * (step == 'call')}"
    if isinstance(key, str):
        text = json.dumps(key, ensure_ascii=False)
    elif all(isinstance(part, (int, float, type(None))) for part in (key if isinstance(key, tuple) else (key,))):
        text = repr(key)
    else:  # its repr is code of its own
        text = type(key).__name__
    text = text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}..."
    return f"[{text}]" if step == "item" else f" (the key {text})"
