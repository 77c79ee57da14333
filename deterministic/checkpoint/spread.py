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


def put_together(saved: TrainingState, objects: Mapping[str, Any]) -> TrainingState:
    """Return a state with tensors in place of `Sharded`, spread over these ranks as the objects' own tensors are.

    All of it is read where an object has no sharded tensor. What was saved as a whole is cut for one that has. Where an
    object has a tensor of another shape `Sharded` is left, which fits nothing. The objects are only looked at.

    Raises:
        CheckpointError: A file does not have what it should.
    """
    parts, states = _Parts(saved.files, saved.parts), saved.objects

    def fit(value: Any, _: str, place: Any) -> Any:
        is_whole = isinstance(value, Tensor) and value.layout is torch.strided
        if not is_whole and not isinstance(value, Sharded):
            return value
        with undispatched(), torch.no_grad():
            if not is_whole and (made := parts.as_held(value, place)) is not None:
                return made
            if (target := _empty(value, place)) is not None:
                box, mine = box_of(target), target.to_local()
                if is_whole:
                    mine.copy_(value[box.within(all_of(value.shape))])
                elif mine.device.type == "cpu" and mine.is_contiguous():
                    parts.read(value, box, mine)
                else:
                    mine.copy_(parts.read(value, box))
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
    return saved._replace(objects={**states, **mapped(concerned, fit, places)})


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
        return {**state, "gradients": dict(value.named_parameters())}
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
    """The parts that are in the files of ranks; a file that is not held is opened when something in it is needed."""

    def __init__(self, files: Mapping[int, Path], held: Mapping[int, Mapping[str, Tensor]]) -> None:
        self._files, self._held = files, held
        self._places: dict[int, Mapping[str, tuple[int, int]]] = {}

    def as_held(self, sharded: Sharded, place: Any) -> DTensor | None:
        """Return a tensor that is spread as the one in its place, in the memory that a file was read into; else None.

        So it is on as many ranks as saved it, on CPUs, where this rank has written what it needs.
        """
        of = place.parameter if isinstance(place, _Like) else place
        if not is_sharded(of) or tuple(of.shape) != sharded.shape or of.device.type != "cpu":
            return None
        box = box_of(of)
        held = [rank for rank, part in sharded.parts if part == box and rank in self._held]
        if not held or not of.to_local().is_contiguous():
            return None
        self._find(sharded, held[0], box)
        local = self._held[held[0]][sharded.name].view(sharded.dtype).view(box.shape)
        how: dict[str, Any] = {"run_check": False, "shape": of.shape, "stride": of.stride()}
        return of.from_local(local, of.device_mesh, of.placements, **how)

    def read(self, sharded: Sharded, box: Box, into: Tensor | None = None) -> Tensor:
        """Return what is in a box, in a tensor of its shape that is given or a new one; only that is read."""
        unit = _UNITS[sharded.dtype.itemsize]
        held = [(common, part, self._find(sharded, rank, part)) for rank, part in sharded.parts
                if (common := part.overlap(box))]  # fmt: skip
        whole = memory_of(prod(box.shape) * unit.itemsize).view(sharded.dtype).view(box.shape) if into is None else into
        values: Any = whole.view(unit).numpy()
        for common, part, (path, start) in held:
            if box.shape and common.shape[1:] == part.shape[1:] == box.shape[1:]:
                # Whole rows lie in one piece, also in the file.
                rows = values[common.within(box)[:1]]
                start += (common.offset[0] - part.offset[0]) * prod(part.shape[1:]) * unit.itemsize
                np.copyto(rows, np.fromfile(path, values.dtype, rows.size, offset=start).reshape(rows.shape))
            else:
                there = np.memmap(path, values.dtype, "r", start, part.shape)
                values[common.within(box)] = there[common.within(part)]
        return whole

    def _find(self, sharded: Sharded, rank: int, part: Box) -> tuple[Path, int]:
        """Return the file of a part, and where in it the part begins."""
        path = self._files[rank]
        if rank not in self._places:
            self._places[rank] = container.places(path)
        start, size = self._places[rank].get(sharded.name, (0, -1))
        expected = prod(part.shape) * sharded.dtype.itemsize
        if size != expected:
            found = "nothing" if size < 0 else f"{size:,} bytes"
            raise refusal(
                f"{path} does not have its part of {sharded.name}",
                f"{found}, where {expected:,} bytes belong",
                "Copy all files of a checkpoint again, or take an earlier one.",
            )
        return path, start
