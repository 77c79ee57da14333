"""Where the parts of a sharded tensor lie: boxes, each an offset and a shape in every dimension."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import add, sub
from typing import Any, NamedTuple

import torch

from .tensors import DTYPES, MOST_DIMENSIONS, device_named, is_count, is_storable, name_of


class Box(NamedTuple):
    """A part of a tensor."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]

    def overlap(self, other: Box) -> Box | None:
        """Return what is in both; None if nothing is."""
        starts = tuple(map(max, self.offset, other.offset))
        ends = map(min, map(add, *self), map(add, *other))
        shape = tuple(end - start for start, end in zip(starts, ends, strict=True))
        return Box(starts, shape) if all(length > 0 for length in shape) else None

    def within(self, other: Box) -> tuple[slice, ...]:
        """Return the indices that it has in a box that it lies in."""
        starts = map(sub, self.offset, other.offset)
        return tuple(slice(start, start + length) for start, length in zip(starts, self.shape, strict=True))


def all_of(shape: Sequence[int]) -> Box:
    """Return the box that is all of a tensor."""
    return Box((0,) * len(shape), tuple(shape))


def make_up(boxes: Sequence[Box], shape: Sequence[int]) -> bool:
    """Return whether boxes that are not empty have each element of a shape once.

    They do so as a grid, as meshes make them: in every dimension their intervals follow each other, and each
    combination of these is there.
    """
    if not prod(shape):
        return not boxes
    grid = [{(box.offset[place], box.shape[place]) for box in boxes} for place in range(len(shape))]
    for intervals, length in zip(grid, shape, strict=True):
        end = 0
        for start, size in sorted(intervals):
            if start != end or size < 1:
                return False
            end += size
        if end != length:
            return False
    return len({*boxes}) == len(boxes) == prod(map(len, grid))


class Sharded(NamedTuple):
    """What stands in a state for a sharded tensor: its name in the files, the whole, and whose file has which box."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    device: str
    parts: tuple[tuple[int, Box], ...] = ()

    def to_plain(self) -> list[Any]:
        """Return it as JSON."""
        parts = [[rank, *map(list, box)] for rank, box in self.parts]
        return [self.name, name_of(self.dtype), list(self.shape), self.device, parts]

    @classmethod
    def from_plain(cls, plain: Any) -> Sharded:
        """Return what `to_plain` returned, if it is that and the parts are all of the tensor."""
        name, dtype, shape, device, parts = plain
        lists = [shape, *(one for _, *box in parts for one in box)]
        if not all(len(one) == len(shape) <= MOST_DIMENSIONS and all(map(is_count, one)) for one in lists):
            raise ValueError(f"a sharded tensor of shape {shape!r} with other parts")
        if type(name) is not str or str(device_named(device)) != device or not is_storable(DTYPES[dtype]):
            raise ValueError(f"a sharded tensor {name!r} of dtype {dtype!r} on {device!r}")
        held = tuple((rank, Box(tuple(offset), tuple(sizes))) for rank, offset, sizes in parts)
        if not all(is_count(rank) for rank, _ in held) or not make_up([box for _, box in held], shape):
            raise ValueError(f"a sharded tensor {name!r} whose parts are not all of it")
        return cls(name, DTYPES[dtype], tuple(shape), device, held)
