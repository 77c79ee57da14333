"""The arguments of `reproducible`: what help shows, and what is said of one that is wrong."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from deterministic import reproducible


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
