"""Parts of a sharded tensor: which make it up, and what is read of them from the files of ranks."""

from __future__ import annotations

from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic import load_checkpoint
from deterministic.checkpoint import container, spread
from deterministic.checkpoint.boxes import Box, Sharded, all_of, make_up
from deterministic.checkpoint.conditions import conditions, generator_states
from deterministic.checkpoint.directory import file_of_rank
from deterministic.checkpoint.load import inside
from deterministic.errors import CheckpointError, ResumeMismatchError

from .written import assert_same_tensor

SHAPE = (5, 3, 4)


@st.composite
def grids(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Box]:
    """Cut a shape in every dimension, anywhere."""
    cuts = [sorted({0, length, *draw(st.sets(st.integers(0, length), max_size=3))}) for length in shape]
    intervals = [[*pairwise(ends)] for ends in cuts]
    boxes = [
        Box(tuple(start for start, _ in one), tuple(end - start for start, end in one)) for one in product(*intervals)
    ]
    return draw(st.permutations(boxes))


@given(grids(SHAPE), st.data())
def test_a_grid_makes_up_a_tensor_and_without_one_of_its_boxes_or_with_one_moved_it_does_not(
    boxes: list[Box], data: st.DataObject
) -> None:
    assert make_up(boxes, SHAPE)
    one = data.draw(st.sampled_from(boxes))
    rest = [box for box in boxes if box != one]
    place = data.draw(st.integers(0, len(SHAPE) - 1))
    moved = Box(tuple(start + (dim == place) for dim, start in enumerate(one.offset)), one.shape)
    for wrong in (rest, [*boxes, one], [*rest, moved], [*rest, one._replace(shape=(*one.shape[:-1], 0))]):
        assert not make_up(wrong, SHAPE)


def test_of_what_is_empty_there_are_no_parts_and_of_a_number_there_is_one() -> None:
    assert make_up([], (0, 3))
    assert not make_up([Box((0, 0), (0, 3))], (0, 3))
    assert make_up([Box((), ())], ())
    assert not make_up([], ())


def written(folder: Path, tensor: torch.Tensor, boxes: list[Box], **changes: Any) -> Path:
    """Write what ranks with these parts would, each with one of them."""
    main, name = folder / "a.safetensors", "value"
    generators, checksums = generator_states(None), []
    for rank, box in enumerate(boxes):
        part = {name: tensor[box.within(all_of(tensor.shape))]}  # not contiguous, as a rule
        values = {"generators": generators, "own": []}
        checksums.append(container.write(main, {}, values, partial(file_of_rank, main, rank), part))
    sharded = Sharded(name, tensor.dtype, tuple(tensor.shape), "cpu", tuple(enumerate(boxes)))._replace(**changes)
    head = {"ranks": checksums, "own": [], "conditions": {**conditions(), "world_size": len(boxes)}}
    container.write(main, head, {"generators": generators, "objects": {"value": {"value": sharded}}})
    return main


DTYPES = (torch.float32, torch.bool, torch.bfloat16, torch.complex64, torch.complex128, torch.float64, torch.int16)


@given(grids(SHAPE), st.sampled_from(DTYPES))
def test_what_any_parts_make_up_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[Box], dtype: torch.dtype
) -> None:
    values = torch.from_numpy(np.random.Generator(np.random.PCG64(1)).standard_normal(SHAPE)).to(dtype)
    path = written(tmp_path_factory.mktemp("parts"), values, boxes)
    assert_same_tensor(load_checkpoint(path, value=None)["value"], values)


@given(grids(SHAPE), grids(SHAPE), st.data())
def test_of_the_parts_that_were_saved_any_other_part_is_read(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[Box], others: list[Box], data: st.DataObject
) -> None:
    values = torch.arange(60.0).reshape(SHAPE)
    main = written(tmp_path_factory.mktemp("parts"), values, boxes)
    files = {rank: next(main.parent.glob(f"a.rank{rank}.*")) for rank in range(len(boxes))}
    box = data.draw(st.sampled_from(others))
    sharded = Sharded("value", torch.float32, SHAPE, "cpu", tuple(enumerate(boxes)))
    needed = {rank for rank, part in sharded.parts if part.overlap(box)}
    read = spread._Parts({rank: files[rank] for rank in needed}, {}).read(sharded, box)
    assert_same_tensor(read, values[box.within(all_of(SHAPE))].contiguous())


def test_a_number_and_an_empty_tensor_are_read(tmp_path: Path) -> None:
    assert load_checkpoint(written(tmp_path, torch.tensor(3.5), [Box((), ())]), value=None)["value"].item() == 3.5
    assert load_checkpoint(written(tmp_path, torch.ones(0, 3), []), value=None)["value"].shape == (0, 3)


HALVES = [Box((0, 0), (1, 4)), Box((1, 0), (1, 4))]


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": ((0, HALVES[0]),)},
        {"parts": ((0, HALVES[0]), (1, HALVES[0]))},
        {"parts": ((0, HALVES[0]), (2, HALVES[1]))},
        {"parts": ((0, HALVES[0]), (-1, HALVES[1]))},
        {"parts": ((0, Box((0, 0), (2, 4))),)},
        {"parts": ((0, Box((0,), (1,))), (1, HALVES[1]))},
        {"shape": (2, 2**61), "parts": ((0, Box((0, 0), (1, 2**61))), (1, Box((1, 0), (1, 2**61))))},
        {"shape": (1,) * 65},
        {"dtype": torch.float64},
        {"dtype": torch.qint8},
        {"device": "nothing"},
        {"name": "other"},
        {"name": "../other"},
    ],
    ids=lambda changes: ", ".join(changes) + str(sum(map(len, map(str, changes.values())))),
)
def test_parts_that_were_made_up_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises((CheckpointError, ResumeMismatchError), match=r"does not|no version of this library"):
        load_checkpoint(written(tmp_path, torch.arange(8.0).reshape(2, 4), HALVES, **changes), value=None)


def test_a_file_of_another_checkpoint_is_refused_and_so_is_one_that_is_missing(tmp_path: Path) -> None:
    main = written(tmp_path, torch.arange(8.0).reshape(2, 4), HALVES)
    first, second = (next(tmp_path.glob(f"a.rank{rank}.*")) for rank in range(2))
    second.write_bytes(first.read_bytes())
    with pytest.raises(CheckpointError, match="the file of rank 1 does not belong to"):
        load_checkpoint(main, value=None)
    second.unlink()
    with pytest.raises(CheckpointError, match=second.name):
        load_checkpoint(main, value=None)


def test_parts_are_not_made_tensors_of_when_what_is_beside_them_is_read(tmp_path: Path) -> None:
    main = written(tmp_path, torch.arange(8.0).reshape(2, 4), HALVES)
    first = next(tmp_path.glob("a.rank0.*"))
    content = container.read(first)
    assert content.sizes["value"] == 16
    assert content.values.keys() == {"generators", "own"}
    assert container.places(first)["value"][1] == 16
    assert {*container.places(main)}.isdisjoint({"value"})
    assert inside(main)["bytes"]["value"] == 32
