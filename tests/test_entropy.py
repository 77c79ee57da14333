"""Scopes that watch over entropy: nested, suspended, left in any order, resumed, in threads and in other processes."""

from __future__ import annotations

import os
import pickle
import random
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deterministic import current_run, reproducible, seed_everything
from deterministic.errors import DeterministicError, EntropyError, ScopeOrderWarning, SeedError

from .unseeded import draws, standing


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = standing()
    yield
    assert standing() == before


def test_threads_that_draw_at_one_line_each_get_another_number() -> None:
    found: list[float] = []

    def draw() -> None:
        found.extend(random.Random().random() for _ in range(200))

    with reproducible(1, entropy="seed"):
        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        again = [random.Random().random()]
    assert len({*found, *again}) == 801


def test_a_scope_inside_takes_over_what_it_does_not_say() -> None:
    with reproducible(0, entropy="raise") as outer:
        with reproducible(1) as inner, pytest.raises(EntropyError):
            np.random.default_rng()
        with reproducible(1, entropy="ignore"):
            np.random.default_rng()
        with reproducible(1, entropy="seed"):
            first = draws()
            with reproducible(1):
                assert draws() == first
            with reproducible(None):
                assert draws() != first
        seed_everything(3)
        with pytest.raises(EntropyError):
            np.random.default_rng()
    assert len(inner.report().data["entropy"]) == 1
    assert sum(one["times"] for one in outer.report().data["entropy"]) == 1 + 3 * 3 + 1


def test_a_decorated_function_repeats_at_each_call() -> None:
    train = reproducible(7)(draws)
    with reproducible(1, entropy="seed"):
        assert train() == train() != draws()


def test_entropy_is_let_pass_in_a_block_that_says_so() -> None:
    with reproducible(0, entropy="raise") as run:
        with run.allow_entropy():
            uuid.uuid4()
            with current_run().allow_entropy():
                draws()
            draws()
            with reproducible(1, entropy="raise"), pytest.raises(EntropyError):
                draws()
        with pytest.raises(EntropyError):
            draws()
    with reproducible(0, enabled=False) as run, run.allow_entropy():
        draws()


def test_a_suspended_body_takes_its_watch_with_it() -> None:
    @reproducible(1, entropy="raise")
    def body() -> Iterator[None]:
        yield
        with pytest.raises(EntropyError):
            draws()
        yield

    before = standing()
    one, other = body(), body()
    for generator in (one, other, one, other):
        next(generator)
        assert standing() == before
        draws()
    del one


def test_scopes_left_in_another_order_leave_nothing_behind() -> None:
    before = standing()
    first, second = reproducible(1, entropy="raise"), reproducible(2, entropy="seed")
    first.start()
    second.start()
    with pytest.warns(ScopeOrderWarning):
        first.stop()
    draws()
    second.stop()
    assert standing() == before


def test_a_seed_is_needed_to_seed_and_nothing_is_touched_without() -> None:
    before = standing()
    with pytest.raises(SeedError, match="no seed to begin with"), reproducible(None, entropy="seed"):
        pass
    with pytest.raises(ValueError, match="'raise': an EntropyError"):
        reproducible(1, entropy="strict")  # type: ignore[call-overload]
    assert standing() == before


def test_a_run_that_is_resumed_goes_on_with_the_seeds_that_come_next() -> None:
    with reproducible(1, entropy="seed") as run:
        draws()
        state = pickle.loads(pickle.dumps(run.state_dict()))
        expected = draws()
    with reproducible(1, entropy="seed") as run:
        run.load_state_dict(state)
        assert draws() == expected
        with pytest.raises(DeterministicError):
            run.load_state_dict({**state, "entropy": {"a line": "many"}})
    with reproducible(1) as run:
        run.load_state_dict({key: state[key] for key in state if key != "entropy"})


def test_a_forked_child_goes_on_watching() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    with reproducible(0, entropy="raise"):
        child = os.fork()
        if not child:
            try:
                draws()
            except EntropyError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


def test_a_configuration_asks_for_it_by_text_and_a_number_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\nentropy: raise\n")
    configs: list[Any] = [{"seed": 1, "entropy": "raise"}, tmp_path / "config.yaml"]
    for config in configs:
        with reproducible.from_config(config), pytest.raises(EntropyError):
            draws()
    (tmp_path / "config.yaml").write_text("seed: 1\nentropy: 0.01\n")
    configs = [{"seed": 1, "entropy": 0.01}, {"seed": 1, "entropy": None}, tmp_path / "config.yaml"]
    for config in configs:
        with reproducible.from_config(config):
            draws()
    with pytest.raises(ValueError, match="entropy= is not one of its choices"):
        reproducible.from_config({"seed": 1, "entropy": "never"})


def test_another_process_opens_the_scope_with_what_is_in_effect() -> None:
    assert reproducible(1).arguments()["entropy"] is None  # type: ignore[index]
    with reproducible(0, entropy="seed"):
        assert reproducible().arguments() == reproducible(0, entropy="seed").arguments()


def test_a_generator_that_is_given_its_seed_keeps_its_other_arguments() -> None:
    with reproducible(0, entropy="seed"):
        moved = [np.random.Philox(counter=1000), np.random.Philox(None, counter=1000)]
    assert [list(each.state["state"]["counter"]) for each in moved] == [[1000, 0, 0, 0]] * 2


def test_classes_of_numpy_are_pickled_by_their_names() -> None:
    genuine = np.random.RandomState, np.random.Philox
    with reproducible(0, entropy="warn"):
        texts = [pickle.dumps(each) for each in (genuine, (np.random.RandomState, np.random.Philox))]
    assert [pickle.loads(text) for text in texts] == [genuine, genuine]
