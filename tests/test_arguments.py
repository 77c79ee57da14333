"""The arguments of `reproducible`: what help shows, and what is said of one that is wrong."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from deterministic import reproducible
from deterministic.ground.arguments import boolean, choice, count


def test_an_argument_that_does_not_exist_is_named_as_it_was_written() -> None:
    make: Any = reproducible
    with pytest.raises(TypeError, match=r"found: sede=\n.*seed, deterministic, generators.*\nWrite seed=."):
        make(sede=42)
    with pytest.raises(TypeError, match=r"found: lr=\n(.|\n)*Leave it out"):
        make(lr=1)
    with pytest.raises(TypeError, match="is not an integer"):
        make(num_threads="2")


def test_a_generator_alone_is_no_list_of_them() -> None:
    make: Any = reproducible
    with pytest.raises(TypeError, match=r"generators=\[generator\]"):
        make(generators=torch.Generator())


def test_help_shows_the_arguments() -> None:
    shown = str(inspect.signature(reproducible))
    assert shown.startswith("(seed: 'int | None | Omitted' = <omitted>, *, deterministic: 'Level' = True,")


@pytest.mark.parametrize(
    ("value", "number"), [(0, 0), (7, 7), (np.int64(3), 3), (np.uint8(3), 3), (torch.tensor(5), 5)]
)
def test_a_count_is_returned_as_an_int(value: Any, number: int) -> None:
    assert count("n", value) == number
    assert type(count("n", value)) is int


@pytest.mark.parametrize("value", [True, np.False_, 1.0, "1", None, [1]], ids=repr)
def test_what_is_no_integer_is_no_count(value: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^n is not an integer\n  found: .*\n  expected: an int, 2 or more\nPass a num"
    ):
        count("n", value, least=2)


def test_a_count_that_is_too_small_is_told_by_how_much_and_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"^n is negative\n  found: -1\n  expected: an int, 0 or more\nPass .* n=1.$"):
        count("n", -1)
    with pytest.raises(ValueError, match=r"^n is below 2\n  found: 1\n  expected: an int, 2 or more\nCompare two.$"):
        count("n", 1, least=2, remedy="Compare two.")


def test_a_bool_is_no_other_thing_that_is_true() -> None:
    assert boolean("b", True) is True
    for value in (1, "yes", None, np.True_):
        with pytest.raises(TypeError, match=r"^b is not a bool\n  found: "):
            boolean("b", value)


def test_a_choice_is_one_of_those_allowed() -> None:
    assert choice("c", "a", ("a", "b")) == "a"
    for value in ("d", 1, None, [], ["a"]):
        with pytest.raises(ValueError, match=r"^c= names none of its choices\n  found: .*\n  expected: 'a', 'b'\nPass"):
            choice("c", value, ("a", "b"))
    levels: dict[Any, str] = {True: "on", "a": "half"}
    with pytest.raises(TypeError, match=r"^c= names no level\n  found: 1\n  True: on\n  'a': half\nPass"):
        choice("c", 1, levels, what="no level", error=TypeError)
