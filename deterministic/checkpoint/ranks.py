"""The ranks of a distributed training, as far as they save and resume together."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch.distributed
from torch.utils._pytree import tree_map

from ..errors import CheckpointError, NondeterminismWarning, warn
from ..ground.ranks import Ranks, gather, the_ranks
from ..values.fingerprint import fingerprint_if_any
from .values import Called

T = TypeVar("T")


def together(first: Callable[[], T], *then: Callable[[T], T], ranks: Ranks | None = None) -> T:
    """Do something on every rank, and more with its result, and return what comes of it, if it succeeded on all ranks.

    They tell each other once, in the end; so what follows on the first may change nothing but in the last place.

    Raises:
        CheckpointError: It raised on another rank, and nothing came before that here; else what was raised here.
    """
    result: Any = None
    error, done = None, 0
    try:
        result = first()
        for work in then:
            done += 1
            result = work(result)
    except Exception as raised:  # noqa: BLE001 - the others must not wait for this rank for ever
        error = raised
    places = gather(None if error is None else (done, f"{type(error).__name__}: {error}"), ranks)
    failed = {rank: place for rank, place in enumerate(places) if place is not None}
    earliest = min((place for place, _ in failed.values()), default=None)
    if error is not None and done == earliest:
        raise error
    if failed:
        raise CheckpointError(
            "this failed on some ranks, and all ranks have to go on together",
            tuple(f"rank {rank}: {text}" for rank, (place, text) in failed.items() if place == earliest),
            "Fix it there; nothing was changed on this rank.",
        )
    return result  # type: ignore[no-any-return]


def warn_of_buckets(objects: Mapping[str, Any]) -> None:
    """Warn of models whose gradients a resumed training adds up in another order, once; also by what DDP wraps.

    DistributedDataParallel sums gradients in buckets, and puts them together anew after its first backward pass: a
    resumed training has the first buckets again for one step. From three ranks on, the place of a number in its bucket
    decides in which order the ranks' numbers are added (gloo and NCCL reduce in rings and trees). It does not happen
    with find_unused_parameters=True (`Reducer::should_rebuild_buckets` in torch/csrc/distributed/c10d/reducer.cpp), nor
    where the order of the ranks decides: `ordered_reduction`, `world_invariant`.
    """
    if the_ranks().world_size <= 2:  # two numbers have one sum
        return
    from ..distributed.reduction import is_ordered  # with it comes torch's compiler

    ddp: Any = torch.nn.parallel.DistributedDataParallel
    wrappers = [one for one in gc.get_objects() if issubclass(type(one), ddp)]  # a module does not know its own
    in_buckets = [one for one in wrappers if not (one.find_unused_parameters or is_ordered(one))]
    parts = {id(part) for one in in_buckets for part in (one, one.module)}
    names = [name for name, value in objects.items() if id(value) in parts]
    if names:
        warn(
            NondeterminismWarning,
            "a training that is resumed adds gradients up in another order in its first step",
            (f"found: DistributedDataParallel on {the_ranks().world_size} ranks: {', '.join(names)}",),
            "For the same bits: deterministic.distributed.ordered_reduction(model).",
        )


def spoken(name: str, part: str, key: str | None = None) -> str:
    """Return what a part of an object's state is called where people read it: "model.0.weight"."""
    return ".".join([name, *([part] * (part not in ("state", "value", ""))), *([] if key is None else [key])])


def own_parts(objects: Mapping[str, Any], generators: Any) -> tuple[list[Any], list[str]]:
    """Return what this rank saves for itself, and what of that any rank has otherwise than rank 0, by name.

    It saves what of its objects' states is such: the running statistics of batch norm, and the place of a loader that
    shares its data out by itself. Each stands with (object, part, name); the name is None for a part that is no dict
    of names. The generators, which it saves anyhow, are among the names where they differ.
    """
    if the_ranks().world_size == 1:
        return [], []
    flat: dict[tuple[str, str, str | None], Any] = {}
    for name, parts in objects.items():
        for part, value in parts.items():
            has_names = isinstance(value, dict) and value and all(isinstance(key, str) for key in value)
            flat.update({(name, part, key): item for key, item in (value if has_names else {None: value}).items()})
    words = tree_map(lambda one: one.tolist() if hasattr(one, "tolist") else one, generators)
    told = {**flat, ("generators", "", None): repr(words)}  # a walk through a thousand words takes longer
    everyones = gather({key: fingerprint_if_any(item) or repr(item) for key, item in told.items()})
    every = dict.fromkeys(key for digests in everyones for key in digests)
    own = [key for key in every if any(digests.get(key) != everyones[0].get(key) for digests in everyones)]
    return [[list(key), Called(spoken(*key), flat[key])] for key in own if key in flat], [spoken(*key) for key in own]


def with_own_parts(objects: Mapping[str, Any], own: list[Any]) -> Mapping[str, Any]:
    """Return the states of objects as a rank had them: what rank 0 saved, but for what was this rank's own."""
    for (name, part, key), item in own:
        if key is None:
            objects[name][part] = item
        else:
            objects[name][part][key] = item
    return objects
