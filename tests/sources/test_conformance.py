"""Every source keeps the contract, and `check_source` notices each way of breaking it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

import deterministic.testing
from deterministic import current_run, describe, register_source, reproducible
from deterministic.errors import DeterministicError
from deterministic.ground.config import Config
from deterministic.ground.source import NOTHING, Applied, RngSource, Source
from deterministic.sources import SOURCES
from deterministic.testing import check_source


@pytest.fixture
def registry() -> Iterator[list[Source]]:
    """The list of sources, as it was again afterwards."""
    before = list(SOURCES)
    yield SOURCES
    SOURCES[:] = before


class Dial:
    """A setting that keeps the contract; the broken ones below differ from it in one method each."""

    name: Any = "test.dial"
    kind: Any = "setting"
    value = 0

    def capture(self) -> Any:
        return self.value

    def apply(self, config: Config) -> Any:
        if not config.applies_algorithms:
            return NOTHING
        self.value = 11
        return Applied({"value": 11})

    def restore(self, state: Any) -> None:
        self.value = state

    def describe(self, state: Any) -> Any:
        return {"value": state}


class Dice:
    """A generator that keeps the contract."""

    name: Any = "test.dice"
    kind: Any = "rng"

    def __init__(self) -> None:
        self.random = random.Random(0)

    def capture(self) -> Any:
        return self.random.getstate()

    def apply(self, config: Config) -> Any:
        if config.seed is None:
            return NOTHING
        self.random.seed(config.seed)
        return Applied({"seed": config.seed})

    def restore(self, state: Any) -> None:
        self.random.setstate(state)

    def describe(self, state: Any) -> Any:
        return {"state": repr(state)}

    def encode(self, state: Any) -> Any:
        return [state[0], list(state[1]), state[2]]

    def decode(self, plain: Any) -> Any:
        return plain[0], tuple(plain[1]), plain[2]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_source_keeps_the_contract(source: Source) -> None:
    before = describe()
    check_source(source)
    assert describe() == before


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_source_is_of_its_protocol_and_says_what_it_is(source: Source) -> None:
    assert isinstance(source, RngSource if source.kind == "rng" else Source)
    assert source.__doc__
    assert source.name == source.name.lower()


def test_the_description_of_everything_is_json() -> None:
    found = describe()
    assert json.loads(json.dumps(found)) == found
    assert list(found) == [source.name for source in SOURCES]


def test_names_are_unique_and_settings_come_before_generators() -> None:
    names = [source.name for source in SOURCES]
    assert len(set(names)) == len(names)
    kinds = [source.kind for source in SOURCES]
    assert kinds == sorted(kinds, reverse=True)
    assert SOURCES[0].name == "environment"


def test_a_source_that_keeps_the_contract_passes() -> None:
    check_source(Dial())
    check_source(Dice())
    assert "check_source" in deterministic.testing.__all__


class CaptureMovesIt(Dice):
    def capture(self) -> Any:
        self.random.random()
        return super().capture()


class StateIsAlive(Dial):
    def __init__(self) -> None:
        self.cell = [0]

    def capture(self) -> Any:
        return self.cell

    def apply(self, config: Config) -> Any:
        self.cell[0] += 1

    def restore(self, state: Any) -> None: ...

    def describe(self, state: Any) -> Any:
        return list(state)


class RestoreDoesNothing(Dial):
    def restore(self, state: Any) -> None: ...


class RestoreIsApproximate(Dice):
    def restore(self, state: Any) -> None:
        super().restore(state)
        self.random.random()


class RestoreUndoesOneApply(Dial):
    def restore(self, state: Any) -> None:
        self.value -= 11

    def apply(self, config: Config) -> Any:
        self.value += 11
        return Applied({"value": self.value})


class IgnoresTheSeed(Dice):
    def apply(self, config: Config) -> Any:
        self.random.seed(0)
        return Applied({"seed": config.seed})


class SeedsFromTheClock(Dice):
    def apply(self, config: Config) -> Any:
        self.random.seed()
        return Applied({"seed": config.seed})


class SeedsOnTopOfTheState(Dice):
    def apply(self, config: Config) -> Any:
        self.random.seed(f"{config.seed}{config.deterministic}")
        return Applied({"seed": config.seed})


class DecodeForgets(Dice):
    def decode(self, plain: Any) -> Any:
        return random.Random(3).getstate()


BROKEN: list[tuple[type[Any], str]] = [
    (CaptureMovesIt, "capture changes nothing"),
    (StateIsAlive, "a captured state does not change later"),
    (RestoreDoesNothing, "restore gives back what was captured"),
    (RestoreIsApproximate, "restore gives back what was captured"),
    (RestoreUndoesOneApply, "restoring twice is the same"),
    (IgnoresTheSeed, "another seed gives the same state"),
    (SeedsFromTheClock, "gives one state"),
    (SeedsOnTopOfTheState, "gives one state"),
    (DecodeForgets, "decode undoes encode"),
]


@pytest.mark.parametrize(("broken", "rule"), BROKEN)
def test_a_source_that_breaks_a_rule_is_refused_with_the_rule_and_not_registered(
    broken: type[Any], rule: str, registry: list[Source]
) -> None:
    known = list(registry)
    for refuses in (check_source, register_source):
        with pytest.raises(DeterministicError, match=rule) as refused:
            refuses(broken())
        assert broken.name in str(refused.value)
    assert registry == known


@pytest.mark.parametrize("missing", ["name", "kind", "capture", "apply", "restore", "describe", "encode", "decode"])
def test_a_generator_that_lacks_something_is_refused_with_its_name(missing: str, registry: list[Source]) -> None:
    namespace = {name: value for name, value in vars(Dice).items() if name != missing}
    source = type("Lacking", (), namespace)()
    with pytest.raises(TypeError, match=missing):
        register_source(source)


def test_a_setting_needs_no_encoding() -> None:
    assert not hasattr(Dial, "encode")
    check_source(Dial())


def test_a_kind_that_is_none_is_refused() -> None:
    source = Dial()
    source.kind = "flag"
    with pytest.raises(TypeError, match="'flag', expected 'rng' or 'setting'"):
        check_source(source)


def test_a_source_is_left_as_it_was_found_also_when_it_fails() -> None:
    source = IgnoresTheSeed()
    before = source.capture()
    with pytest.raises(DeterministicError):
        check_source(source)
    assert source.capture() == before


def test_a_description_that_is_no_json_is_refused() -> None:
    class Opaque(Dial):
        def describe(self, state: Any) -> Any:
            return {"value": object()}

    with pytest.raises((TypeError, DeterministicError), match="JSON"):
        check_source(Opaque())


def test_registered_sources_are_saved_set_given_back_and_described(registry: list[Source]) -> None:
    dial, dice = Dial(), Dice()
    register_source(dice)
    register_source(dial)
    dial.value = 5
    before = describe()
    assert before["test.dial"] == {"value": 5}
    with reproducible(3) as run:
        assert dial.value == 11
        first = dice.random.random()
        state = run.state_dict()
        second = dice.random.random()
        report = str(run.report())
        run.load_state_dict(state)
        assert dice.random.random() == second
    assert describe() == before
    assert dial.value == 5
    assert first == random.Random(3).random()
    assert "test.dial.value" in report
    assert "5 -> 11" in report
    with reproducible(3, deterministic=False):
        assert dial.value == 5
        assert dice.random.random() == first


def test_a_registered_setting_goes_before_the_generators_and_a_generator_last(registry: list[Source]) -> None:
    register_source(Dice())
    register_source(Dial())
    names = [source.name for source in registry]
    assert names[-1] == "test.dice"
    assert names.index("test.dial") == names.index("python.random") - 1


def test_a_source_registered_inside_a_scope_is_for_the_scopes_entered_from_then_on(registry: list[Source]) -> None:
    dice = Dice()
    before = dice.capture()
    with reproducible(3):
        register_source(dice)
        assert dice.capture() == before
        with reproducible(4):
            assert dice.random.random() == random.Random(4).random()
        assert dice.capture() == before
        assert "test.dice" not in current_run().state_dict()["rng"]


def test_a_name_is_registered_once(registry: list[Source]) -> None:
    register_source(Dial())
    known = list(registry)
    with pytest.raises(DeterministicError, match=r"registered already\n  found: 'test.dial'"):
        register_source(Dial())
    assert registry == known
