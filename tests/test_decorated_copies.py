"""Decorated functions and bound methods pickle and copy by name, as functions do, and stay decorated."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Generator
from typing import Any

import pytest

from deterministic import reproducible

from .streams import Draw, draw, stream


@reproducible(seed=1)
def function() -> list[Draw]:
    return [draw(), draw()]


@reproducible(seed=1)
def generator() -> Generator[Draw, None, None]:
    yield draw()
    yield draw()


class Model:
    def __init__(self, weight: int = 0) -> None:
        self.weight = weight

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.weight == other.weight

    __hash__ = None  # type: ignore[assignment]

    @reproducible(seed=1)
    def method(self) -> tuple[object, list[Draw]]:
        return self, [draw(), draw()]

    @classmethod
    @reproducible(seed=1)
    def class_method(cls) -> tuple[object, list[Draw]]:
        return cls, [draw(), draw()]

    @reproducible(seed=1)
    @classmethod
    def class_method_above(cls) -> tuple[object, list[Draw]]:
        return cls, [draw(), draw()]

    @reproducible(seed=1)
    @staticmethod
    def static_method() -> tuple[object, list[Draw]]:
        return None, [draw(), draw()]

    class Nested:
        @reproducible(seed=1)
        def method(self) -> tuple[object, list[Draw]]:
            return None, [draw(), draw()]


PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def by_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))


COPIES = [copy.copy, copy.deepcopy, *(by_pickle(protocol) for protocol in PROTOCOLS)]


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_of_a_decorated_function_is_that_function(duplicate: Callable[[Any], Any]) -> None:
    assert duplicate(function) is function
    assert duplicate(function)() == stream(1, 2)
    assert list(duplicate(generator)()) == stream(1, 2)


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_of_a_bound_method_is_bound_and_decorated(duplicate: Callable[[Any], Any]) -> None:
    model = Model(weight=3)
    assert duplicate(model.method)() == (model, stream(1, 2))
    assert duplicate(Model.method)(model) == (model, stream(1, 2))
    assert duplicate(Model.class_method)() == (Model, stream(1, 2))
    assert duplicate(model.class_method_above)() == (Model, stream(1, 2))
    assert duplicate(Model.static_method)() == (None, stream(1, 2))
    assert duplicate(Model.Nested().method)() == (None, stream(1, 2))


def test_a_deep_copy_of_a_bound_method_copies_its_object_once() -> None:
    model = Model(weight=3)
    copied_method, copied_model = copy.deepcopy((model.method, model))
    bound_to, _ = copied_method()
    assert bound_to is copied_model
    assert bound_to is not model
    assert copy.copy(model.method)()[0] is model


def test_an_object_that_holds_decorated_functions_is_copied() -> None:
    holder: Any = {"function": function, "partial": functools.partial(function)}
    for duplicate in COPIES:
        copied = duplicate(holder)
        assert copied["function"] is function
        assert copied["partial"]() == stream(1, 2)


def test_a_local_function_is_refused_by_pickle_with_the_way_out_and_copied_as_itself() -> None:
    @reproducible(seed=1)
    def local() -> list[Draw]:
        return [draw()]

    for protocol in PROTOCOLS:
        with pytest.raises(TypeError) as refused:
            pickle.dumps(local, protocol)
        assert "<locals>.local" in str(refused.value)
        assert "top level" in str(refused.value)
    assert copy.copy(local) is copy.deepcopy(local) is local
