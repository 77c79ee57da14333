"""States with tensors that are spread over ranks: what stands for these in a checkpoint, and who writes which part."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..errors import CheckpointError, cut
from ..ground.ranks import gather, process_group_exists, the_ranks
from ..values.bits import Unreadable, row_of_values, undispatched
from ..values.fingerprint import fingerprint_if_any
from ..values.sharded import is_here, is_sharded
from .boxes import Box, Sharded, make_up
from .directory import refusal
from .ranks import spoken, together
from .stateful import modules_in, parameters_of, states_of
from .tensors import name_of

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

SavedStates = Mapping[str, Mapping[str, Any]]
"""What `state_of` returned, by the name of the object."""

_Change = Callable[[Any, str, Any], Any]


class _OnRank(NamedTuple):
    """What a rank has of a sharded tensor; a digest of it where others may have the same part."""

    kind: str
    shape: tuple[int, ...]
    box: Box
    digest: str | None


def are_sharded(stateful: Mapping[str, Any]) -> bool:
    """Return whether some of these objects and values are spread over ranks, or will be, as an optimizer's state."""
    if not process_group_exists():
        return False
    of_modules = (module.parameters() for module in modules_in(stateful).values())
    of_optimizers = (parameters_of(value) for value in stateful.values() if isinstance(value, torch.optim.Optimizer))
    parameters = chain.from_iterable(chain(of_modules, of_optimizers))  # whose states take longer to ask for
    return any(map(is_sharded, parameters)) or holds_sharded(states_of(stateful))


def holds_sharded(states: SavedStates) -> bool:
    """Return whether something in these states is spread over ranks."""
    return bool(_taken_out(states)[1])


def share_out(states: SavedStates) -> tuple[SavedStates, dict[str, Tensor]]:
    """Return states in which `Sharded` stands for each sharded tensor, and by name the parts that this rank writes.

    Every rank must call it. Of the ranks that have the same part one writes it; they take turns. A CheckpointError says
    on all of them that they have other objects, or parts of a tensor that are not the whole; or that one cannot be
    stored.
    """
    states, found = _taken_out(states)
    held = together(lambda: {name: _held(name, tensor) for name, tensor in found.items()})
    objects, tables = zip(*gather(({*states}, held)), strict=True)
    problems = [*_absences("passed", objects), *_absences("sharded", tables)]
    parts: dict[str, tuple[tuple[int, Box], ...]] = {}
    for name in () if problems else held:
        owners: dict[Box, list[int]] = {}
        for rank, table in enumerate(tables):
            if prod(table[name].box.shape):
                owners.setdefault(table[name].box, []).append(rank)
        problems += _problems(name, [table[name] for table in tables], owners)
        # Where one begins moves on with the names, so that no rank writes the first part of all of them.
        turns = enumerate(sorted(owners.items()), len(parts))
        parts[name] = tuple((ranks[turn % len(ranks)], box) for turn, (box, ranks) in turns)
    if problems:
        raise CheckpointError(
            "what the ranks have does not make up one checkpoint; nothing was written",
            tuple(problems),
            "Save the same objects on every rank, each spread over all ranks, and alike where several have it.",
        )
    own = {name for name, owned in parts.items() for rank, _ in owned if rank == the_ranks().rank}

    def complete(value: Any, *_: object) -> Any:
        return value._replace(parts=parts[value.name]) if isinstance(value, Sharded) else value

    return mapped(states, complete), {name: found[name].to_local().detach() for name in held if name in own}


def _problems(name: str, held: list[_OnRank], owners: Mapping[Box, list[int]]) -> list[str]:
    """Return why what the ranks have of a tensor is not the tensor."""
    kinds = sorted({f"{one.kind}{[*one.shape]}" for one in held})
    if len(kinds) > 1:
        return [f"{name}: {' on some ranks, on others '.join(kinds)}"]
    if not make_up([*owners], held[0].shape):
        return [f"{name}: the parts of the ranks are not all of it, or not in one piece each"]
    differ = [ranks for ranks in owners.values() if len({held[rank].digest for rank in ranks}) > 1]
    return [f"{name}: ranks {', '.join(map(str, ranks))} have other values of the same part" for ranks in differ[:1]]


def _absences(what: str, names: tuple[Any, ...]) -> list[str]:
    problems = []
    for name in sorted(set().union(*names)):
        without = [str(rank) for rank, own in enumerate(names) if name not in own]
        if without:
            problems.append(f"{name}: {what} on some ranks, and not on {', '.join(without)}")
    return problems


def sharded_in(states: SavedStates) -> list[Sharded]:
    """Return what stands for sharded tensors in these states."""
    found: list[Any] = []
    mapped(states, lambda value, *_: found.append(value))
    return [value for value in found if isinstance(value, Sharded)]


def _taken_out(states: SavedStates) -> tuple[SavedStates, dict[str, DTensor]]:
    """Return states in which `Sharded`, yet without parts, stands for each sharded tensor, and these by name."""
    found: dict[str, DTensor] = {}

    def take(value: Any, name: str, _: object) -> Any:
        if not is_sharded(value):
            return value
        while name in found:  # a key may look like the way to another
            name += "'"
        found[name] = value
        return Sharded(name, value.dtype, tuple(value.shape), str(value.device))

    if not process_group_exists():
        return states, found
    return mapped(states, take), found


def _held(name: str, tensor: DTensor) -> _OnRank:
    """Return what this rank has of a sharded tensor, or refuse it."""
    problem = ""
    if not is_here(tensor):
        problem = f"a tensor that is on the ranks {tensor.device_mesh.mesh.tolist()} alone"
    elif any(placement.is_partial() for placement in tensor.placements):
        problem = f"a tensor that is the sum of what the ranks have: {', '.join(map(str, tensor.placements))}"
    else:
        try:
            with undispatched():
                if row_of_values(tensor.to_local()) is None:
                    problem = f"a sharded tensor made of {type(tensor.to_local()).__name__}"
        except Unreadable as error:
            problem = error.differs
    if problem:
        raise refusal(
            f"{name} cannot be stored in a checkpoint; nothing was written",
            problem,
            "Spread it over all ranks with redistribute(), or leave it out.",
        )
    is_alone = tensor.device_mesh.size() == the_ranks().world_size and not any(
        placement.is_replicate() for placement in tensor.placements
    )
    digest = None if is_alone else fingerprint_if_any(tensor.to_local())
    return _OnRank(name_of(tensor.dtype), tuple(tensor.shape), box_of(tensor), digest)


def box_of(tensor: DTensor) -> Box:
    """Return where in the whole this rank's part lies: what torch.distributed.checkpoint asks a tensor for."""
    (chunk,) = tensor.__create_chunk_list__()
    return Box(tuple(chunk.offsets), tuple(chunk.sizes))


def mapped(states: SavedStates, change: _Change, places: Mapping[str, Any] | None = None) -> SavedStates:
    """Return states with what `change` makes of each value in their containers; one in which nothing changes is kept.

    It gets the value, its name ("model.0.weight"), and what is at the same place in `places`, None if nothing is.
    """
    return {
        name: {part: _mapped(value, spoken(name, part), _at(_at(places, name), part), change, set())
               for part, value in parts.items()}
        for name, parts in states.items()
    }  # fmt: skip


def _mapped(value: Any, name: str, place: Any, change: _Change, within: set[int]) -> Any:
    if type(value) not in (dict, OrderedDict, defaultdict, list, tuple) or id(value) in within:
        return change(value, name, place)
    within.add(id(value))  # one that contains itself is refused later
    has_keys = isinstance(value, dict)
    new = {}
    for key, item in value.items() if has_keys else enumerate(value):
        way = f"{name}.{key}" if type(key) is str else f"{name}[{cut(key) if type(key) is int else repr(key)}]"
        new[key] = _mapped(item, way, _at(place, key), change, within)
    within.discard(id(value))
    if all(new[key] is item for key, item in (value.items() if has_keys else enumerate(value))):
        return value
    if not has_keys:
        return type(value)(new.values())
    made = copy.copy(value)  # with its factory, and what a state_dict says beside its entries
    made.update(new)
    return made


def _at(place: Any, key: Any) -> Any:
    if isinstance(place, Mapping):
        return place.get(key)
    is_there = isinstance(place, (list, tuple)) and type(key) is int and key < len(place)
    return place[key] if is_there else None
