"""The words of errors: short and without an error of their own, whatever the value that they tell of."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import (
    Checkpoint,
    compare_levels,
    derive_seed,
    load_checkpoint,
    make_loader,
    record,
    reproducible,
    sample_rng,
    save_checkpoint,
    spawn_seeds,
    verify,
)
from deterministic.errors import DeterministicError, SeedError, cut, explain, type_error, value_error

HUGE = 10**5000
"""An integer that Python does not turn into decimal digits."""

DATA = torch.arange(4)


def loader(**arguments: Any) -> Any:
    return make_loader(DATA, seed=1, **arguments)


REFUSED: dict[str, tuple[Callable[[Any], object], type[Exception]]] = {
    "a seed": (reproducible, SeedError),
    "a seed in a configuration": (lambda huge: reproducible.from_config({"seed": huge}), SeedError),
    "deterministic=": (lambda huge: reproducible(1, deterministic=huge), TypeError),
    "deterministic_cudnn": (lambda huge: reproducible.from_config({"deterministic_cudnn": huge}), TypeError),
    "a configuration": (lambda huge: reproducible.from_config(huge), TypeError),
    "num_threads=": (lambda huge: reproducible(1, num_threads=-huge), ValueError),
    "num_threads= in a list": (lambda huge: reproducible(1, num_threads=[huge]), TypeError),  # type: ignore[call-overload]
    "on_conflict=": (lambda huge: reproducible(1, on_conflict=huge), ValueError),
    "enabled=": (lambda huge: reproducible(1, enabled=huge), TypeError),
    "a path of seeds": (lambda huge: derive_seed(1, [huge]), TypeError),  # type: ignore[arg-type]
    "a count of seeds": (lambda huge: spawn_seeds(1, -huge), ValueError),
    "verify": (verify, TypeError),
    "runs=": (lambda huge: verify(print, runs=[huge]), TypeError),  # type: ignore[arg-type]
    "control=": (lambda huge: verify(print, control=huge), TypeError),
    "levels=": (lambda huge: compare_levels(print, levels=[huge]), ValueError),
    "level=": (lambda huge: record("nowhere", huge), ValueError),
    "every=": (lambda huge: Checkpoint("nowhere", every=-huge), ValueError),
    "resume=": (lambda huge: Checkpoint("nowhere", resume=huge), ValueError),
    "randomness=": (lambda huge: loader(randomness=huge), ValueError),
    "shard=": (lambda huge: loader(shard=huge), TypeError),
    "global_batch_size=": (lambda huge: loader(global_batch_size=-huge), ValueError),
    "an epoch": (lambda huge: loader().set_epoch(-huge), ValueError),
    "a loader's state": (lambda huge: loader().load_state_dict({**loader().state_dict(), "seed": huge}), ValueError),
    "a library": (sample_rng, ValueError),
}


@pytest.mark.parametrize(("call", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_a_huge_integer_is_refused_in_our_words(call: Callable[[Any], object], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"an integer of 16610 bits") as refused:
        call(HUGE)
    assert "int_max_str_digits" not in str(refused.value)
    assert len(str(refused.value)) < 2000


def test_a_huge_integer_is_a_key_of_a_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", x={HUGE: [1]})
    assert load_checkpoint(tmp_path / "a", x=None) == {"x": {HUGE: [1]}}


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def nested() -> Any:
    value: Any = []
    for _ in range(10**5):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    "value",
    [HUGE, -HUGE, "x" * 10**6, [0] * 10**6, dict.fromkeys(range(10**5)), Unspeakable(), (Unspeakable(), HUGE)],
    ids=lambda value: type(value).__name__,
)
def test_any_value_is_shown_short(value: Any) -> None:
    assert 0 < len(cut(value)) < 1000


def test_a_value_of_values_of_values_is_shown_short() -> None:
    assert len(cut(nested())) < 10_000
    myself: list[Any] = []
    myself.append(myself)
    assert len(cut(myself)) < 100


@pytest.mark.parametrize(
    "value", [0, -1, 2**64, 10**100, True, None, 1.5, "warn", b"x", [1, "a"], {"a": (1,)}], ids=repr
)
def test_an_ordinary_value_is_shown_as_it_is(value: Any) -> None:
    assert cut(value) == repr(value)


def test_a_value_that_is_a_text_of_somebody_elses_is_cut_too() -> None:
    assert len(explain("a", ("found: " + "x" * 10**6, "found: short"), "b")) < 11_000


def test_an_error_words_what_it_is_given_and_comes_back_from_a_pickle() -> None:
    text = explain("a differs", ("found: 1",), "Pass 2.")
    for error in (SeedError("a differs", ("found: 1",), "Pass 2."), SeedError(text)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(error), str(again)) == (SeedError, text, text)
    assert str(DeterministicError("a differs", ("found: 1",))) == explain("a differs", ("found: 1",), "")
    builtin = [type_error("a differs", ("found: 1",), "Pass 2."), value_error("a differs", ("found: 1",), "Pass 2.")]
    assert [(type(error), str(error)) for error in builtin] == [(TypeError, text), (ValueError, text)]
