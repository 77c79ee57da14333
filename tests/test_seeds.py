"""Seeds as integers, and the draws that they give."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from deterministic import derive_seed, reproducible, spawn_seeds
from deterministic.errors import DeterministicError, SeedError
from deterministic.ground.seeds import SEED_LIMIT, numpy_seed, torch_seed, validate_seed

from .ids import without_address
from .processes import run_python

by_hand_seeds = st.integers(0, 2**32 - 1)
large_seeds = st.integers(2**32, SEED_LIMIT - 1)
seeds = st.one_of(by_hand_seeds, large_seeds)
paths = st.lists(st.one_of(st.integers(), st.text(max_size=8)), max_size=4)


@pytest.mark.parametrize("integer", [0, 7, 2**32, 2**64 - 1])
def test_an_int_is_a_seed(integer: int) -> None:
    assert validate_seed(integer) == integer


@pytest.mark.parametrize("integer", [np.int8(7), np.int64(7), np.uint32(7), np.uint64(2**64 - 1)])
def test_a_numpy_integer_is_a_seed_and_becomes_an_int(integer: Any) -> None:
    seed = validate_seed(integer)
    assert type(seed) is int
    assert seed == int(integer)


NO_SEEDS = [True, False, np.True_, 1.0, float("nan"), np.float64(1.0), "1", b"1", None, 1 + 0j, [1], (1,), object()]
NO_SCALARS = [np.array([1, 2]), np.array(1.5), np.array(True), torch.tensor([1, 2]), torch.tensor(1.5)]
NO_SCALARS += [torch.tensor(True)]


@pytest.mark.parametrize("other", [*NO_SEEDS, *NO_SCALARS], ids=without_address)
def test_what_is_no_integer_is_refused(other: Any) -> None:
    with pytest.raises(SeedError, match="seed is not an integer"):
        validate_seed(other)


@pytest.mark.parametrize("integer", [-1, 2**64, np.int64(-1), -(2**64)])
def test_an_integer_out_of_range_is_refused(integer: Any) -> None:
    with pytest.raises(SeedError, match="seed is out of range"):
        validate_seed(integer)


def test_a_refused_seed_is_also_a_value_error_and_names_the_argument() -> None:
    with pytest.raises(ValueError, match=r"^base is not an integer\n  found: 'x' \(str\)\n  expected: .*\nPass an int"):
        validate_seed("x", name="base")
    assert issubclass(SeedError, DeterministicError)


def test_derived_seeds_never_change_between_versions() -> None:
    # Published results depend on these numbers: a change of the hash is a breaking change.
    assert derive_seed(0) == 2917691339357707528
    assert derive_seed(42) == 8517227427422203424
    assert derive_seed(2**64 - 1, "a", 1, -1, 2**100) == 15545982404880346752
    assert derive_seed(42, "split", 0, "é\ud800") == 7936105554790023130
    assert spawn_seeds(42, 3) == [2795767841, 2406884767, 2887841754]
    assert torch_seed(2**32) == 5871650374744491854


@given(seeds, paths)
def test_a_derived_seed_is_a_seed(seed: int, path: list[Any]) -> None:
    assert validate_seed(derive_seed(seed, *path)) == derive_seed(seed, *path)


@given(seeds, paths, seeds, paths)
@example(1, ["a", "b"], 1, ["ab"])
@example(1, ["1"], 1, [1])
@example(1, [""], 1, [])
@example(1, [0], 1, [])
@example(1, [-1], 1, [255])
@example(1, [256], 1, [0, 1])
@example(1, [2], 2, [1])
def test_different_paths_give_different_seeds(seed: int, path: list[Any], other: int, other_path: list[Any]) -> None:
    same = (seed, path) == (other, other_path)
    assert (derive_seed(seed, *path) == derive_seed(other, *other_path)) == same


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_numpy_integer_in_the_path_is_the_int(part: int) -> None:
    numpy_integer: Any = np.int64(part)
    assert derive_seed(3, numpy_integer) == derive_seed(3, part)


@pytest.mark.parametrize("part", [None, 1.0, True, np.True_, b"a", ("a",)], ids=repr)
def test_a_path_of_other_things_is_refused(part: Any) -> None:
    with pytest.raises(TypeError, match="neither an int nor a str"):
        derive_seed(1, "a", part)


def test_derive_seed_refuses_what_is_no_seed() -> None:
    with pytest.raises(SeedError, match="not an integer"):
        derive_seed(None, "a")  # type: ignore[arg-type]


def test_derived_seeds_do_not_depend_on_the_process_or_its_hash_seed() -> None:
    code = "from deterministic import derive_seed, spawn_seeds; print(derive_seed(7, 'a', -3), spawn_seeds(7, 3))"
    here = f"{derive_seed(7, 'a', -3)} {spawn_seeds(7, 3)}"
    assert {run_python(code, PYTHONHASHSEED=value) for value in ("0", "1", "random")} == {here}


@given(seeds, st.integers(0, 40), st.integers(0, 40))
def test_asking_for_more_spawned_seeds_only_appends(seed: int, few: int, more: int) -> None:
    few, more = sorted((few, more))
    spawned = spawn_seeds(seed, more)
    assert spawned[:few] == spawn_seeds(seed, few)
    assert len(set(spawned)) == len(spawned) == more
    assert all(0 <= child < 2**32 for child in spawned)


def test_spawned_seeds_are_different_where_the_hash_repeats_itself() -> None:
    # Of seed 68, numbers 413 and 975 are equal in their low 32 bits.
    assert derive_seed(68, "spawn", 413) % 2**32 == derive_seed(68, "spawn", 975) % 2**32
    assert len(set(spawn_seeds(68, 1000))) == len(spawn_seeds(68, 1000)) == 1000


def test_spawned_seeds_of_two_seeds_have_nothing_in_common() -> None:
    assert not set(spawn_seeds(0, 100)) & set(spawn_seeds(1, 100))


def test_spawn_seeds_refuses_a_negative_count_and_what_is_no_seed() -> None:
    with pytest.raises(ValueError, match="count is negative"):
        spawn_seeds(1, -1)
    with pytest.raises(TypeError):
        spawn_seeds(1, 2.0)  # type: ignore[arg-type]
    with pytest.raises(SeedError, match="not an integer"):
        spawn_seeds("1", 1)  # type: ignore[arg-type]


def test_spawn_seeds_refuses_what_is_no_seed_also_for_no_seeds_at_all() -> None:
    with pytest.raises(SeedError, match="not an integer"):
        spawn_seeds("1", 0)  # type: ignore[arg-type]


@given(by_hand_seeds)
@example(0)
@example(2**32 - 1)
def test_a_small_seed_is_passed_on_as_it_stands(seed: int) -> None:
    assert numpy_seed(seed) == seed
    assert torch_seed(seed) == seed


@given(large_seeds)
@example(2**32)
@example(2**64 - 1)
def test_with_a_large_seed_no_generator_draws_what_another_draws(seed: int) -> None:
    with reproducible(seed=seed, deterministic=False):
        drawn = {random.random(), np.random.rand(), torch.rand(1, dtype=torch.float64).item()}
    assert len(drawn) == 3


def draws() -> tuple[list[Any], ...]:
    return (
        [random.random(), random.gauss(0, 1), random.getrandbits(70)],
        [np.random.rand(), np.random.normal(), int(np.random.randint(2**31))],
        [torch.rand(3).tolist(), torch.randn(17).tolist(), torch.randperm(5).tolist()],
    )


def draws_by_hand(seed: int) -> tuple[list[Any], ...]:
    with reproducible(seed=None, deterministic=False):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        return draws()


@given(by_hand_seeds)
@example(0)
@example(2**31)
@example(2**32 - 1)
def test_a_scope_draws_what_seeding_by_hand_draws(seed: int) -> None:
    with reproducible(seed, deterministic=False):
        assert draws() == draws_by_hand(seed)


@given(large_seeds)
@example(2**32)
@example(2**64 - 1)
def test_a_large_seed_draws_other_numbers_than_its_low_half(seed: int) -> None:
    with reproducible(seed, deterministic=False):
        large = draws()
    assert all(a != b for a, b in zip(large, draws_by_hand(seed % 2**32), strict=True))


@given(large_seeds, large_seeds)
def test_large_seeds_draw_different_numbers(seed: int, other: int) -> None:
    drawn = []
    for each in (seed, other):
        with reproducible(each, deterministic=False):
            drawn.append(draws())
    assert all((a == b) == (seed == other) for a, b in zip(*drawn, strict=True))


def test_python_takes_a_large_seed_whole() -> None:
    with reproducible(2**40 + 5, deterministic=False):
        drawn = random.random()
    assert drawn == random.Random(2**40 + 5).random()
