"""Decorated async generators: every way of stepping and ending one stays in its scope."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from deterministic import reproducible

from .streams import Draw, draw, no_scope_is_open, stream, together


@reproducible(seed=1)
async def draws(cleaned_up: list[Draw] | None = None) -> AsyncGenerator[Draw, None]:
    try:
        while True:
            yield draw()
            await asyncio.sleep(0)
    finally:
        if cleaned_up is not None:
            cleaned_up.append(draw())
            await asyncio.sleep(0)
            cleaned_up.append(draw())


async def take(generator: AsyncGenerator[Draw, None], count: int) -> list[Draw]:
    return [await anext(generator) for _ in range(count)]


def test_a_decorated_async_generator_draws_its_own_stream_and_lends_it_to_nobody() -> None:
    async def main() -> list[Draw]:
        drawn = []
        generator = draws()
        async for value in generator:
            drawn.append(value)
            assert no_scope_is_open()
            if len(drawn) == 4:
                break
        await generator.aclose()
        return drawn

    assert asyncio.run(main()) == stream(1, 4)


def test_decorated_async_generators_interleave() -> None:
    async def main() -> list[list[Draw]]:
        first, second = draws(), draws()
        taken = await together(take(first, 3), take(second, 3))
        taken += await together(take(first, 2), take(second, 1))
        await first.aclose()
        await second.aclose()
        return taken

    expected = stream(1, 5)
    assert asyncio.run(main()) == [expected[:3], expected[:3], expected[3:], expected[3:4]]


def test_two_kinds_of_decorated_bodies_nest() -> None:
    @reproducible(seed=2)
    async def collect() -> tuple[list[Draw], list[Draw]]:
        mine = [draw()]
        generator = draws()
        theirs = await take(generator, 2)
        mine.append(draw())
        await generator.aclose()
        return [*mine, draw()], theirs

    assert asyncio.run(collect()) == (stream(2, 3), stream(1, 2))


def test_values_are_sent_into_the_body() -> None:
    received: list[tuple[str | None, Draw]] = []

    @reproducible(seed=1)
    async def echo() -> AsyncGenerator[str | None, str]:
        sent = None
        while True:
            sent = yield sent
            received.append((sent, draw()))

    async def main() -> list[str | None]:
        generator = echo()
        answers = [await anext(generator), await generator.asend("one"), await generator.asend("two")]
        await generator.aclose()
        return answers

    assert asyncio.run(main()) == [None, "one", "two"]
    assert received == list(zip(["one", "two"], stream(1, 2), strict=True))


def test_exceptions_are_thrown_into_the_body_as_themselves() -> None:
    caught: list[BaseException] = []

    @reproducible(seed=1)
    async def survives() -> AsyncGenerator[Draw, None]:
        while True:
            try:
                yield draw()
            except ValueError as error:
                caught.append(error)

    async def main() -> list[Draw]:
        generator = survives()
        error, fatal = ValueError("survived"), KeyError("not survived")
        drawn = [await anext(generator), await generator.athrow(error), await anext(generator)]
        assert caught == [error]
        with pytest.raises(KeyError) as raised:
            await generator.athrow(fatal)
        assert raised.value is fatal
        assert no_scope_is_open()
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        return drawn

    assert asyncio.run(main()) == stream(1, 3)


def test_a_body_that_ends_ends_the_iteration_and_the_scope() -> None:
    @reproducible(seed=1)
    async def two() -> AsyncGenerator[Draw, None]:
        yield draw()
        yield draw()

    async def main() -> list[Draw]:
        drawn = [value async for value in two()]
        assert no_scope_is_open()
        return drawn

    assert asyncio.run(main()) == stream(1, 2)


def test_a_body_that_raises_raises_in_the_loop() -> None:
    @reproducible(seed=1)
    async def fails() -> AsyncGenerator[Draw, None]:
        yield draw()
        raise OSError("no more data")

    async def main() -> None:
        with pytest.raises(OSError, match="no more data"):
            async for _ in fails():
                pass
        assert no_scope_is_open()

    asyncio.run(main())


def test_closing_cleans_up_in_the_body_s_own_scope_also_after_an_await() -> None:
    cleaned_up: list[Draw] = []

    async def main() -> None:
        generator = draws(cleaned_up)
        await anext(generator)
        await generator.aclose()
        assert no_scope_is_open()

    asyncio.run(main())
    assert cleaned_up == stream(1, 3)[1:]


def test_closing_an_async_generator_that_never_began_does_nothing() -> None:
    async def main() -> None:
        await draws().aclose()

    asyncio.run(main())


def test_a_body_that_ignores_its_closing_is_an_error() -> None:
    @reproducible(seed=1)
    async def stubborn() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            yield 2

    async def main() -> None:
        generator = stubborn()
        await anext(generator)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            await generator.aclose()
        assert no_scope_is_open()

    asyncio.run(main())


def test_a_body_dropped_half_way_is_closed_by_the_loop_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []

    async def main() -> None:
        async for _ in draws(cleaned_up):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        assert cleaned_up == stream(1, 3)[1:]

    asyncio.run(main())


class Holder:
    def __init__(self, cleaned_up: list[Draw]) -> None:
        self.cleaned_up = cleaned_up
        self.generator = self.draws()

    @reproducible(seed=1)
    async def draws(self) -> AsyncGenerator[Draw, None]:
        try:
            while True:
                yield draw()
        finally:
            self.cleaned_up.append(draw())


def test_a_body_dropped_with_the_object_that_holds_it_is_closed_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []

    async def main() -> None:
        await anext(Holder(cleaned_up).generator)
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        assert cleaned_up == stream(1, 2)[1:]

    asyncio.run(main())


def test_a_body_still_open_when_the_loop_shuts_down_is_closed_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []
    kept = []

    async def main() -> None:
        kept.append(draws(cleaned_up))
        await anext(kept[0])

    asyncio.run(main())  # calls loop.shutdown_asyncgens()
    assert cleaned_up == stream(1, 3)[1:]


def test_a_body_cancelled_while_it_awaits_cleans_up_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []

    @reproducible(seed=1)
    async def waits() -> AsyncGenerator[Draw, None]:
        try:
            yield draw()
            await asyncio.sleep(30)
        finally:
            cleaned_up.append(draw())

    async def consume() -> None:
        async for _ in waits():
            pass

    async def main() -> None:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert no_scope_is_open()

    asyncio.run(main())
    assert cleaned_up == stream(1, 2)[1:]


def test_a_body_suspended_in_an_inner_scope_is_put_aside_whole() -> None:
    @reproducible(seed=1)
    async def nested() -> AsyncGenerator[Draw, None]:
        with reproducible(seed=2):
            yield draw()
            await asyncio.sleep(0)
            yield draw()
        yield draw()

    async def collect() -> list[Draw]:
        return [value async for value in nested()]

    async def main() -> list[list[Draw]]:
        return await together(collect(), collect())

    assert asyncio.run(main()) == [[*stream(2, 2), *stream(1, 1)]] * 2


def test_wrong_arguments_raise_at_the_call_and_the_driver_has_the_name_of_the_body() -> None:
    wrong: Any = draws
    with pytest.raises(TypeError):
        wrong(1, 2, 3)
    generator = draws()
    assert inspect.isasyncgen(generator)
    assert (generator.__name__, generator.__qualname__) == ("draws", "draws")
