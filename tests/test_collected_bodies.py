"""Bodies that the garbage collector closes while another scope is being entered: neither of the two is disturbed."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Generator
from typing import Literal

import pytest
import torch

from deterministic import current_run, reproducible
from deterministic.errors import ScopeConflictError, ScopeOrderWarning
from deterministic.scope import stack

from .faulty import Collecting, registered


def test_a_decorated_body_is_closed_in_its_own_scope() -> None:
    closed_in = []

    @reproducible(1)
    def body() -> Generator[None, None, None]:
        try:
            yield
        finally:
            closed_in.append((current_run().seed, random.random()))

    steps = body()
    next(steps)
    with registered(4, Collecting(steps)):
        del steps
        with reproducible(2) as run:
            assert current_run() is run
            assert random.random() == random.Random(2).random()
    assert closed_in == [(1, random.Random(1).random())]


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_an_error_of_its_cleanup_does_not_break_the_entry(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)

    @reproducible(1)
    def body() -> Generator[None, None, None]:
        try:
            yield
        finally:
            raise kind("of the cleanup")

    steps = body()
    next(steps)
    with registered(4, Collecting(steps)):
        del steps
        with reproducible(2) as run:
            assert current_run() is run
    assert not stack._entries


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_plain_block_that_is_open_in_it_is_closed(
    action: Literal["ignore", "error"], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    before = torch.get_rng_state()

    def body() -> Generator[None, None, None]:
        with reproducible(1):
            yield

    steps = body()
    next(steps)
    with registered(4, Collecting(steps)), warnings.catch_warnings():
        warnings.simplefilter(action, ScopeOrderWarning)  # it is closed under the other scope
        del steps
        with reproducible(2) as run:
            assert current_run() is run
    assert not stack._entries
    assert torch.equal(torch.get_rng_state(), before)
    assert ScopeConflictError not in reported
