"""The record of what was asked, and the validation of its fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deterministic.ground.config import LEVELS, OMITTED, Config, validate_level, validate_num_threads

WHAT_EACH_LEVEL_APPLIES = {
    # level: (cudnn, algorithms, warn_only)
    False: (False, False, False),
    "cudnn": (True, False, False),
    True: (True, True, False),
    "warn": (True, True, True),
}


def test_the_levels_are_those_of_the_documentation() -> None:
    assert list(LEVELS) == [False, "cudnn", True, "warn"]


@pytest.mark.parametrize(("level", "applies"), WHAT_EACH_LEVEL_APPLIES.items())
def test_what_a_level_applies(level: Any, applies: tuple[bool, ...]) -> None:
    config = Config(deterministic=level)
    assert (config.applies_cudnn, config.applies_algorithms, config.warn_only) == applies


def test_by_default_a_config_asks_for_nothing() -> None:
    assert Config()._asdict() == {
        "seed": None,
        "deterministic": False,
        "num_threads": None,
        "allow_nondeterministic": False,
        "seed_of_all_ranks": None,
        "entropy": None,
    }


def test_the_seed_that_ranks_have_in_common_is_the_seed_unless_each_has_its_own() -> None:
    assert Config(seed=3).common_seed == 3
    assert Config(seed=3, seed_of_all_ranks=5).common_seed == 5
    assert Config().common_seed is None


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("level", [False, "cudnn", True, "warn"])
def test_a_level_is_returned_as_it_is(level: Any) -> None:
    assert validate_level(level) is level


@pytest.mark.parametrize("other", ["yes", "True", "", 1, 0, 1.0, None, np.True_, [], {}, torch.tensor(True)], ids=repr)
def test_what_is_no_level_is_refused_with_the_levels_by_name(other: Any) -> None:
    with pytest.raises(TypeError, match="deterministic= is not a level") as refused:
        validate_level(other)
    lines = str(refused.value).splitlines()
    assert lines[1] == f"  found: {other!r}"
    assert lines[2:-1] == [f"  {level!r}: {text}" for level, text in LEVELS.items()]


@pytest.mark.parametrize(("given", "count"), [(None, None), (1, 1), (3, 3), (np.int64(2), 2)])
def test_a_number_of_threads_is_an_int_or_none(given: Any, count: int | None) -> None:
    validated = validate_num_threads(given)
    assert validated == count
    assert type(validated) is type(count)


@pytest.mark.parametrize("other", [True, False, np.True_, 1.0, "1", (1,)], ids=repr)
def test_a_number_of_threads_of_another_type_is_refused(other: Any) -> None:
    with pytest.raises(TypeError, match="num_threads is not an integer"):
        validate_num_threads(other)


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_thread_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="num_threads is below 1"):
        validate_num_threads(count)


def test_an_omitted_argument_is_named_so_in_signatures() -> None:
    assert repr(OMITTED) == "<omitted>"
