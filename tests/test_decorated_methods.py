"""Decorated methods of every kind are bound as without the decorator."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Generator

import pytest

from deterministic import reproducible

from .streams import Draw, draw, stream

QUESTIONS = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)


class Model:
    """A method of each kind; each returns what it was bound to, and two draws."""

    @reproducible(seed=1)
    def method(self) -> tuple[object, list[Draw]]:
        return self, [draw(), draw()]

    @reproducible(seed=1)
    @classmethod
    def class_method_above(cls) -> tuple[object, list[Draw]]:
        return cls, [draw(), draw()]

    @classmethod
    @reproducible(seed=1)
    def class_method_below(cls) -> tuple[object, list[Draw]]:
        return cls, [draw(), draw()]

    @reproducible(seed=1)
    @staticmethod
    def static_method_above() -> tuple[object, list[Draw]]:
        return None, [draw(), draw()]

    @staticmethod
    @reproducible(seed=1)
    def static_method_below() -> tuple[object, list[Draw]]:
        return None, [draw(), draw()]

    @reproducible(seed=1)
    def generator(self) -> Generator[object, None, None]:
        yield self
        yield draw()
        yield draw()

    @reproducible(seed=1)
    async def coroutine(self) -> tuple[object, list[Draw]]:
        await asyncio.sleep(0)
        return self, [draw(), draw()]

    @reproducible(seed=1)
    async def async_generator(self) -> AsyncGenerator[object, None]:
        yield self
        yield draw()
        yield draw()

    @classmethod
    @reproducible(seed=1)
    async def class_coroutine(cls) -> tuple[object, list[Draw]]:
        await asyncio.sleep(0)
        return cls, [draw(), draw()]

    @property
    @reproducible(seed=1)
    def as_property(self) -> tuple[object, list[Draw]]:
        return self, [draw(), draw()]

    @reproducible(seed=1)
    def __call__(self) -> tuple[object, list[Draw]]:
        return self, [draw(), draw()]


@pytest.mark.parametrize("name", ["generator", "coroutine", "async_generator"])
def test_inspect_sees_the_kind_of_a_method_also_bound(name: str) -> None:
    kind = {
        "generator": inspect.isgeneratorfunction,
        "coroutine": inspect.iscoroutinefunction,
        "async_generator": inspect.isasyncgenfunction,
    }[name]
    for method in (getattr(Model, name), getattr(Model(), name)):
        assert [question for question in QUESTIONS if question(method)] == [kind]
    assert inspect.ismethod(getattr(Model(), name))
    assert inspect.signature(getattr(Model(), name)).parameters == {}
    assert list(inspect.signature(getattr(Model, name)).parameters) == ["self"]


@pytest.mark.parametrize(
    "name",
    [
        "method",
        "class_method_above",
        "class_method_below",
        "static_method_above",
        "static_method_below",
        "__call__",
    ],
)
def test_methods_of_every_kind_are_bound_as_without_the_decorator(name: str) -> None:
    model = Model()
    bound_to = Model if "class" in name else None if "static" in name else model
    assert getattr(model, name)() == (bound_to, stream(1, 2))
    if bound_to is model:
        assert getattr(Model, name)(model) == (model, stream(1, 2))
    else:
        assert getattr(Model, name)() == (bound_to, stream(1, 2))


def test_methods_that_yield_or_await_are_bound_as_without_the_decorator() -> None:
    model = Model()

    async def collect() -> list[object]:
        return [item async for item in model.async_generator()]

    assert model() == model.as_property == (model, stream(1, 2))
    assert list(model.generator()) == [model, *stream(1, 2)]
    assert asyncio.run(model.coroutine()) == (model, stream(1, 2))
    assert asyncio.run(Model.class_coroutine()) == (Model, stream(1, 2))
    assert asyncio.run(collect()) == [model, *stream(1, 2)]


def test_a_subclass_may_call_its_parent_s_decorated_method() -> None:
    class Child(Model):
        @reproducible(seed=2)
        def method(self) -> tuple[object, list[Draw]]:
            first = draw()
            mine, inner = super().method()
            return mine, [first, *inner, draw()]

    child = Child()
    first, last = stream(2, 2)
    assert child.method() == (child, [first, *stream(1, 2), last])
