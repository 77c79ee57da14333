"""How a decorated coroutine ends: returned, raised, cancelled, timed out, closed, refused, never awaited."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deterministic import reproducible
from deterministic.errors import ScopeConflictError

from .streams import SECONDS, Draw, draw, no_scope_is_open, stream


@reproducible(seed=1)
async def draws(count: int, seen: list[Draw] | None = None) -> list[Draw]:
    drawn = [] if seen is None else seen
    for _ in range(count):
        drawn.append(draw())
        await asyncio.sleep(0)
    return drawn


def test_a_cancelled_coroutine_cleans_up_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []

    @reproducible(seed=1)
    async def drawer() -> None:
        try:
            draw()
            await asyncio.sleep(SECONDS)
        finally:
            cleaned_up.append(draw())
            await asyncio.sleep(0)
            cleaned_up.append(draw())

    async def main() -> None:
        task = asyncio.create_task(drawer())
        other = asyncio.create_task(draws(3))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await other == stream(1, 3)
        assert no_scope_is_open()

    asyncio.run(main())
    assert cleaned_up == stream(1, 3)[1:]


def test_a_coroutine_may_swallow_its_cancellation_and_go_on() -> None:
    @reproducible(seed=1)
    async def drawer() -> list[Draw]:
        drawn = [draw()]
        try:
            await asyncio.sleep(SECONDS)
        except asyncio.CancelledError:
            drawn.append(draw())
        await asyncio.sleep(0)
        return [*drawn, draw()]

    async def main() -> list[Draw]:
        task = asyncio.create_task(drawer())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(main()) == stream(1, 3)


def test_a_task_that_is_cancelled_before_its_first_step_opens_nothing() -> None:
    async def main() -> None:
        task = asyncio.create_task(draws(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert no_scope_is_open()

    asyncio.run(main())


def test_a_time_out_ends_the_scope() -> None:
    seen: list[Draw] = []

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(draws(10**9, seen), 0.01)
        assert no_scope_is_open()

    asyncio.run(main())
    assert len(seen) > 1
    assert seen == stream(1, len(seen))


def test_an_exception_leaves_a_coroutine_as_itself_and_ends_the_scope() -> None:
    error = KeyError("mine")

    @reproducible(seed=1)
    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        with pytest.raises(KeyError) as raised:
            await fails()
        assert raised.value is error
        assert raised.traceback[-1].name == "fails"
        assert no_scope_is_open()

    asyncio.run(main())


def test_a_coroutine_that_is_never_awaited_warns_once_and_by_its_own_name() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        coroutine = draws(1)
        assert inspect.iscoroutine(coroutine)
        del coroutine
        gc.collect()
    assert [str(warning.message) for warning in warned] == ["coroutine 'draws' was never awaited"]
    assert no_scope_is_open()


def test_a_coroutine_that_is_closed_unawaited_does_not_warn() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        draws(1).close()
        gc.collect()
    assert warned == []


def test_wrong_arguments_raise_at_the_call() -> None:
    wrong: Any = draws
    for arguments in ((), (1, None, 3)):
        with pytest.raises(TypeError):
            wrong(*arguments)
    with pytest.raises(TypeError, match="colour"):
        wrong(1, colour="red")


def test_a_coroutine_closed_half_way_cleans_up_in_its_own_scope() -> None:
    cleaned_up: list[Draw] = []

    @reproducible(seed=1)
    async def drawer() -> None:
        try:
            draw()
            await asyncio.sleep(0)
        finally:
            cleaned_up.append(draw())

    coroutine: Coroutine[Any, Any, None] = drawer()
    coroutine.send(None)
    assert no_scope_is_open()
    coroutine.close()
    assert cleaned_up == stream(1, 2)[1:]


def test_a_coroutine_that_is_refused_raises_that_and_does_not_warn_that_it_was_never_awaited() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with reproducible(seed=5), ThreadPoolExecutor(1) as pool:
            refused = pool.submit(asyncio.run, draws(1)).exception(SECONDS)
        assert isinstance(refused, ScopeConflictError)
        del refused
        gc.collect()
    assert [str(warning.message) for warning in warned] == []


def test_a_coroutine_that_was_refused_half_way_is_closed_in_its_own_scope_once_the_other_has_left() -> None:
    cleaned_up: list[Draw] = []

    @reproducible(seed=1)
    async def drawer() -> None:
        try:
            draw()
            await asyncio.sleep(0)
        finally:
            cleaned_up.append(draw())

    coroutine = drawer()
    coroutine.send(None)
    with reproducible(seed=5), ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(coroutine.send, None).exception(SECONDS), ScopeConflictError)
        assert cleaned_up == []
        assert [draw()] == stream(5, 1)
    assert cleaned_up == stream(1, 2)[1:]
