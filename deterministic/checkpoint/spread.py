"""Saved parts of sharded tensors, put together for the objects that they are loaded into, on any number of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..values.bits import undispatched
from ..values.fingerprint import digest_of
from ..values.sharded import is_sharded
from ..values.stateful import is_stateful
from . import container
from .boxes import Box, Sharded, all_of
from .directory import refusal
from .save import TrainingState
from .sharded import are_sharded, box_of, mapped, sharded_in
from .stateful import parameters_of, state_of
from .tensors import device_named, home_of, memory_of

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

_UNITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}
"""What values of so many bytes are copied as: numpy has not all types."""


class _Like(NamedTuple):
    """Stands for the states that an optimizer will have of a parameter."""

    parameter: Tensor


class _Copied(NamedTuple):
    """Stands for a tensor of a module, whose `load_state_dict` copies what it is given, and keeps none of it."""

    tensor: Tensor


def put_together(saved: TrainingState, objects: Mapping[str, Any]) -> TrainingState:
    """Return a state with tensors in place of `Sharded`, spread over these ranks as the objects' own tensors are.

    All of it is read where an object has no sharded tensor. What was saved as a whole is cut for one that has. Where an
    object has a tensor of another shape `Sharded` is left, which fits nothing. The objects are only looked at. A
    CheckpointError says that a file does not have what it should.
    """
    parts, states = _Parts(saved.files, saved.parts), saved.objects

    def fit(value: Any, _: str, place: Any) -> Any:
        is_whole = isinstance(value, Tensor) and value.layout is torch.strided
        if not is_whole and not isinstance(value, Sharded):
            return value
        may_map = isinstance(place, _Copied)
        place = place.tensor if isinstance(place, _Copied) else place
        with undispatched(), torch.no_grad():
            if not is_whole and (made := parts.spread(value, place, may_map)) is not None:
                return made
            if (target := _empty(value, place)) is not None:
                box = box_of(target)
                target.to_local().copy_(
                    value[box.within(all_of(value.shape))] if is_whole else parts.read(value, box, may_map=True)
                )
                return target
            if is_whole or (isinstance(place, Tensor) and tuple(place.shape) != value.shape):
                return value
            home = place.device if isinstance(place, Tensor) else home_of(device_named(value.device))
            return parts.read(value, all_of(value.shape)).to(home)

    concerned = {name: state for name, state in states.items() if name in objects}
    for name in [*concerned]:
        if not sharded_in({name: states[name]}) and not are_sharded({name: objects[name]}):
            del concerned[name]
    places = {name: _places(objects[name], state) for name, state in concerned.items()}
    return saved._replace(objects={**states, **mapped(concerned, fit, places)}, digests=parts.digests)


def _empty(saved: Tensor | Sharded, place: Any) -> DTensor | None:
    """Return a tensor to be filled, spread as the one that is in its place; None if that is not spread, or another."""
    of = place.parameter if isinstance(place, _Like) else place
    if not is_sharded(of):
        return None
    if tuple(of.shape) == tuple(saved.shape):
        return torch.empty_like(of, dtype=saved.dtype)  # type: ignore[return-value]
    if isinstance(place, _Like) and isinstance(saved, Sharded):  # a row or a column of it, as Adafactor keeps
        return of.new_empty(saved.shape, dtype=saved.dtype)  # type: ignore[return-value]
    return None


def _places(value: Any, saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tensors that an object has, or whose like it will have, at the places of its saved state."""
    if not is_stateful(value):
        return {"value": value}
    state = state_of(value)
    if isinstance(value, nn.Module):
        copied = {key: _Copied(one) if isinstance(one, Tensor) else one for key, one in state["state"].items()}
        return {**state, "state": copied, "gradients": dict(value.named_parameters())}
    if not isinstance(value, torch.optim.Optimizer):
        return state
    try:
        numbers = [number for group in saved["state"]["param_groups"] for number in group["params"]]
        of_each = dict(zip(numbers, map(_Like, parameters_of(value)), strict=False))
        # "step" is a number for itself, also of a parameter without dimensions: so torch's load_state_dict has it.
        likes = {
            number: dict.fromkeys(entries.keys() - {"step"}, of_each.get(number))
            for number, entries in saved["state"]["state"].items()
        }
    except (LookupError, TypeError, AttributeError):  # no state of an optimizer, of which it is told later
        return state
    return {"state": {"state": likes}}


class _Parts:
    """The parts that are in the files of ranks; a file is mapped into memory when something in it is needed."""

    def __init__(self, files: Mapping[int, Path], known: Mapping[int, Mapping[str, bytes]]) -> None:
        self.digests: dict[int, tuple[Tensor, bytes]] = {}
        self._files, self._known = files, known
        self._mapped: dict[int, tuple[Mapping[str, tuple[int, int]], Any]] = {}

    def spread(self, sharded: Sharded, place: Any, may_map: bool) -> DTensor | None:
        """Return a tensor that is spread as the one in its place, if that is one on CPUs; else None."""
        of = place.parameter if isinstance(place, _Like) else place
        if not is_sharded(of) or tuple(of.shape) != sharded.shape or of.device.type != "cpu":
            return None
        if not of.to_local().is_contiguous():
            return None
        how: dict[str, Any] = {"run_check": False, "shape": of.shape, "stride": of.stride()}
        box = box_of(of)
        made: DTensor = of.from_local(self.read(sharded, box, may_map), of.device_mesh, of.placements, **how)
        for rank, part in sharded.parts if may_map else ():
            if part == box and (digest := self._known.get(rank, {}).get(sharded.name)):
                local = made.to_local()
                self.digests[id(local)] = local, digest_of(local, digest)
        return made

    def read(self, sharded: Sharded, box: Box, may_map: bool = False) -> Tensor:
        """Return what is in a box, in new memory, or where its file is mapped if it may and one has all of it.

        That it may not be kept: who changes the file later would change it, too, and whoever cuts it off would end us.
        """
        unit = _UNITS[sharded.dtype.itemsize]
        held = [(common, part, self._find(sharded, rank, part)) for rank, part in sharded.parts
                if (common := part.overlap(box))]  # fmt: skip
        if may_map and len(held) == 1 and held[0][0] == held[0][1] == box:
            return torch.from_numpy(held[0][2]).view(sharded.dtype).view(box.shape)
        whole = memory_of(prod(box.shape) * unit.itemsize).view(sharded.dtype).view(box.shape)
        values: Any = whole.view(unit).numpy()
        for common, part, there in held:
            values[common.within(box)] = there.view(values.dtype).reshape(part.shape)[common.within(part)]
        return whole

    def _find(self, sharded: Sharded, rank: int, part: Box) -> Any:
        """Return the bytes of a part, where its file is mapped."""
        path = self._files[rank]
        if rank not in self._mapped:
            self._mapped[rank] = container.places(path), np.memmap(path, np.uint8, "c")
        places, mapped = self._mapped[rank]
        start, size = places.get(sharded.name, (0, -1))
        expected = prod(part.shape) * sharded.dtype.itemsize
        if size != expected:
            found = "nothing" if size < 0 else f"{size:,} bytes"
            raise refusal(
                f"{path} does not have its part of {sharded.name}",
                f"{found}, where {expected:,} bytes belong",
                "Copy all files of a checkpoint again, or take an earlier one.",
            )
        return np.asarray(mapped[start : start + size])
