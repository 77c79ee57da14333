"""A rank's batch cut into shards, and what a module returns for each of them put together again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..errors import DeterministicError, cut
from ..values.fingerprint import fingerprint_if_any
from .reduction import tree_sum

_BATCHES = 8


def names_of(forward: Callable[..., Any]) -> list[str]:
    """Return what the positional arguments of a function are called, as far as anybody can tell."""
    try:
        names = [*inspect.signature(forward).parameters.values()]
    except (TypeError, ValueError):
        names = []
    return [one.name for one in names if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]


class Batch:
    """The arguments of one call of a module, and which of their tensors have a row for each sample.

    Args:
        known: What positional arguments are called, as `names_of` tells.
        shared: Names of arguments that have no rows; None: none is named.

    Attributes:
        rows: Samples in the batch of this rank.
        first: The tensor that says how many they are.
        others: The other tensors with as many rows, by the names of their arguments and their places.
        cut: Tensors that need gradients, each with the one that the shards get in its place.

    Raises:
        DeterministicError: No argument has rows, or one may or may not have them.
    """

    def __init__(self, known: Sequence[str], shared: Collection[str] | None, args: Any, kwargs: dict[str, Any]) -> None:
        self._leaves, self._spec = tree_flatten((args, kwargs))
        self.cut: list[tuple[Tensor, Tensor]] = []
        missing = (f"argument {place}" for place in range(len(known), len(args)))
        names = [*known[: len(args)], *missing, *kwargs]
        owners = [name for name, value in zip(names, [*args, *kwargs.values()], strict=True) for _ in _leaves(value)]
        tensors = [
            (place, name, leaf)
            for place, (name, leaf) in enumerate(zip(owners, self._leaves, strict=True))
            if isinstance(leaf, Tensor) and leaf.dim() and name not in (shared or ())
        ]
        for value in (*args, *kwargs.values()):
            if isinstance(value, PackedSequence):
                _refuse("PackedSequence", "Pass padded tensors and their lengths, and pack them inside of the module.")
        for _, name, leaf in tensors:
            if leaf.is_nested or leaf.layout != torch.strided:
                _refuse(f"{name}: a {'nested' if leaf.is_nested else leaf.layout} tensor", "Pass a strided one.")
        if not tensors:
            _refuse("no tensor", "Call the module with a batch.")
        first, _, batch = tensors[0]
        self.rows = len(batch)
        self._places = {place for place, _, leaf in tensors if len(leaf) == self.rows}
        self.first = batch
        self.others = {(name, place): leaf for place, name, leaf in tensors[1:] if place in self._places}
        for name, value in zip(names, [*args, *kwargs.values()], strict=True):
            if name not in (shared or ()) and any(len(one) == self.rows > 1 for one in _plain_lists(value)):
                found = f"{name}: a list of {self.rows}, which is as many as there are samples"
                _refuse(found, f"Pass a tensor, or say that it is for all samples: shared=[{name!r}].")
        unclear = [
            name
            for place, name, leaf in tensors
            if place != first and leaf.dim() > 1 and leaf.shape[0] == leaf.shape[1] == self.rows
            if leaf.dtype == torch.bool or leaf.is_floating_point()  # numbers of tokens are no mask
        ]
        if unclear and shared is None:
            raise DeterministicError(
                "it cannot be told whether an argument has a row for each sample, or is a mask for all of them",
                (f"found: {', '.join(unclear)}: {self.rows} x {self.rows}, {self.rows} samples in the batch",),
                f"Say it: world_invariant(..., shared=[{unclear[0]!r}]), or shared=[] if all have a row for each.",
            )

    def cut_off(self) -> None:
        """Let no gradient go from the shards to the batch by itself."""
        for place, leaf in enumerate(self._leaves):
            if isinstance(leaf, Tensor) and leaf.requires_grad:
                self._leaves[place] = leaf.detach().requires_grad_()
                self.cut.append((leaf, self._leaves[place]))

    def shard(self, number: int, count: int) -> tuple[Any, dict[str, Any]]:
        """Return the arguments of one of so many shards, each with the same number of rows."""
        size = self.rows // count
        leaves = [
            leaf[number * size : (number + 1) * size] if place in self._places else leaf
            for place, leaf in enumerate(self._leaves)
        ]
        args, kwargs = tree_unflatten(leaves, self._spec)
        return args, kwargs


class SameForAll:
    """Notices an argument that is cut into shards and is the same for every batch: it has as many rows by accident.

    So are the numbers of the positions in a sequence. The calls of one step may have the same labels, so it is asked
    for only after `_BATCHES` batches; its fingerprint is taken until then, or until it has changed.
    """

    def __init__(self) -> None:
        self._first: str | None = None
        self._seen: dict[tuple[str, int], tuple[str | None, int]] = {}
        self._known: set[tuple[str, int]] = set()

    def problem(self, batch: Batch) -> DeterministicError | None:
        """Return the error where an argument of this batch is such a one."""
        asked = {key: leaf for key, leaf in batch.others.items() if key not in self._known}
        if not asked:
            return None
        was, self._first = self._first, fingerprint_if_any(batch.first[:2])
        for key, leaf in asked.items():
            before, batches = self._seen.get(key, (None, 0))
            digest, batches = fingerprint_if_any(leaf), batches + (self._first != was)
            self._seen[key] = digest, batches
            if digest != before is not None or batches == _BATCHES:
                self._known.add(key)
            if digest == before and batches == _BATCHES and not bool((leaf == leaf[:1]).all()):
                return DeterministicError(
                    "an argument has as many rows as the batch, and is the same for every batch",
                    (f"found: {key[0]}: {[*leaf.shape]}, for {batch.rows} samples, in {_BATCHES} batches",),
                    f"Say what it is: world_invariant(..., shared=[{key[0]!r}]) if it belongs to all samples, "
                    "shared=[] if it has a row for each.",
                )
        return None


def merged(outputs: Sequence[Any], rows: int) -> Any:
    """Return what a module returned for each shard as one value.

    Tensors with a row for each sample are put one after the other; numbers in tensors are their mean, added up as a
    tree. What is no tensor is the first shard's if all are equal; else it is something that tells so where it is used.

    Args:
        outputs: Of each shard.
        rows: Samples in a shard.

    Raises:
        DeterministicError: A tensor is neither.
    """
    if len(outputs) == 1:
        return outputs[0]
    flat = [tree_flatten(output) for output in outputs]
    if any(spec != flat[0][1] for _, spec in flat):
        _refuse("outputs of another structure for each shard", "Return the same structure for each batch.", "returned")
    leaves = [_merged(parts, rows) for parts in zip(*(leaves for leaves, _ in flat), strict=True)]
    return tree_unflatten(leaves, flat[0][1])


def _merged(parts: tuple[Any, ...], rows: int) -> Any:
    if all(isinstance(part, Tensor) for part in parts):
        if all(part.dim() == 0 for part in parts):
            return tree_sum(torch.stack(parts)) / len(parts)
        if all(part.dim() and len(part) == rows for part in parts):
            return torch.cat(parts)
        shapes = ", ".join(str([*part.shape]) for part in parts[:2])
        _refuse(
            f"tensors of shapes {shapes}, ... for shards of {rows} samples",
            "Return tensors with a row for each sample, or with one number.",
            "returned",
        )
    if all(isinstance(part, (bool, int, float, str, type(None))) and part == parts[0] for part in parts):
        return parts[0]
    return _NotMerged(type(parts[0]).__name__)


class _NotMerged:
    """Stands for what a module returned beside tensors, as a cache of keys, which nobody can put together."""

    def __init__(self, kind: str) -> None:
        self.__dict__["kind"] = kind

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # copies, pickles and prints look for these
            raise AttributeError(name)
        _refuse(
            f"a {self.kind} for each shard", "Do not use it in training, or let the module not return it.", "returned"
        )


def _plain_lists(value: Any) -> Iterator[list[Any]]:
    """Return the lists in an argument in which there are no tensors, as of lengths or texts."""
    if isinstance(value, list) and not any(isinstance(leaf, Tensor) for leaf in _leaves(value)):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _plain_lists(one)


def _leaves(value: Any) -> list[Any]:
    return tree_flatten(value)[0]


def _refuse(found: str, remedy: str, where: str = "was called with") -> NoReturn:
    raise DeterministicError(
        f"a batch cannot be cut into shards for what the module {where}", (f"found: {cut(found)}",), remedy
    )
