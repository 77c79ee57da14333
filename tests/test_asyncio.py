"""Tasks of an event loop: decorated coroutines interleave, each with its own stream; plain blocks conflict."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

import pytest
import torch

from deterministic import reproducible
from deterministic.errors import ScopeConflictError

from .streams import SECONDS, Draw, draw, line_above, no_scope_is_open, stream, together


@reproducible(seed=1)
async def draws(count: int) -> list[Draw]:
    drawn = []
    for _ in range(count):
        drawn.append(draw())
        await asyncio.sleep(0)
    return drawn


async def draws_in_a_block(seed: int, count: int) -> list[Draw]:
    drawn = []
    with reproducible(seed=seed):
        for _ in range(count):
            drawn.append(draw())
            await asyncio.sleep(0)
    return drawn


def test_decorated_coroutines_interleave_and_each_draws_its_own_stream() -> None:
    order: list[tuple[int, Draw]] = []

    async def drawer(seed: int) -> None:
        for _ in range(3):
            order.append((seed, draw()))
            assert torch.are_deterministic_algorithms_enabled()
            await asyncio.sleep(0)

    async def main() -> None:
        await together(*(reproducible(seed=seed)(drawer)(seed) for seed in (1, 2, 2)))
        assert no_scope_is_open()

    asyncio.run(main())
    assert [seed for seed, _ in order] == [1, 2, 2] * 3
    for seed in (1, 2):
        drawn = [value for drawer, value in order if drawer == seed]
        expected = stream(seed, 3)
        assert drawn == (expected if seed == 1 else [value for value in expected for _ in range(2)])


def test_a_decorated_coroutine_never_lends_its_state_to_the_rest_of_the_loop() -> None:
    async def watch(task: asyncio.Task[list[Draw]]) -> int:
        looks = 0
        while not task.done():
            assert no_scope_is_open()
            looks += 1
            await asyncio.sleep(0)
        return looks

    async def main() -> None:
        before = torch.get_rng_state()
        task = asyncio.create_task(draws(5))
        assert await watch(task) > 3
        assert task.result() == stream(1, 5)
        assert torch.equal(torch.get_rng_state(), before)

    asyncio.run(main())


def test_a_decorated_coroutine_may_await_another_one() -> None:
    @reproducible(seed=2)
    async def outer() -> tuple[list[Draw], list[Draw]]:
        first = draw()
        inner = await draws(2)
        return [first, draw()], inner

    async def main() -> list[Any]:
        return await together(outer(), draws(2), outer())

    expected = stream(2, 2), stream(1, 2)
    assert asyncio.run(main()) == [expected, stream(1, 2), expected]


def test_a_second_task_with_a_plain_block_is_refused_and_told_the_line_and_the_decorator() -> None:
    lines: list[str] = []

    async def holder() -> list[Draw]:
        with reproducible(seed=1):
            lines.append(line_above())
            drawn = [draw()]
            await asyncio.sleep(0)
            return [*drawn, draw()]

    async def main() -> list[Any]:
        return await together(holder(), draws_in_a_block(2, 1))

    drawn, refused = asyncio.run(main())
    assert drawn == stream(1, 2)
    assert isinstance(refused, ScopeConflictError)
    assert lines[0] in str(refused)
    assert "@reproducible" in str(refused)
    assert 'on_conflict="wait"' not in str(refused)  # it queues threads; a task that waits would stop the loop


def test_plain_blocks_of_tasks_that_do_not_overlap_are_welcome() -> None:
    async def main() -> list[list[Draw]]:
        return [await asyncio.create_task(draws_in_a_block(seed, 2)) for seed in (1, 2)]

    assert asyncio.run(main()) == [stream(1, 2), stream(2, 2)]


def test_waiting_is_for_threads_a_second_task_is_refused_at_once() -> None:
    async def holder() -> None:
        with reproducible(seed=1):
            await asyncio.sleep(0)

    async def second() -> None:
        with reproducible(seed=2, on_conflict="wait"):
            pass

    async def main() -> list[Any]:
        return await asyncio.wait_for(together(holder(), second()), SECONDS)

    assert [type(result) for result in asyncio.run(main())] == [type(None), ScopeConflictError]


def test_decorated_coroutines_inside_the_open_block_of_another_task_leave_it_alone() -> None:
    async def main() -> list[Any]:
        return await together(draws_in_a_block(5, 4), draws(3), draws(2))

    assert asyncio.run(main()) == [stream(5, 4), stream(1, 3), stream(1, 2)]


def test_a_decorated_coroutine_that_outlives_the_block_it_began_in_goes_on() -> None:
    async def main() -> list[Any]:
        return await together(draws_in_a_block(5, 2), draws(5), draws_in_a_late_block())

    async def draws_in_a_late_block() -> list[Draw]:
        for _ in range(3):
            await asyncio.sleep(0)
        return await draws_in_a_block(6, 4)

    assert asyncio.run(main()) == [stream(5, 2), stream(1, 5), stream(6, 4)]


def test_a_block_inside_a_decorated_coroutine_is_put_aside_with_it() -> None:
    @reproducible(seed=1)
    async def outer(inner_seed: int) -> list[Draw]:
        first = draw()
        inner = await draws_in_a_block(inner_seed, 3)
        return [first, *inner, draw()]

    async def main() -> list[Any]:
        return await together(*(outer(seed) for seed in (2, 3, 4)))

    first, last = stream(1, 2)
    assert asyncio.run(main()) == [[first, *stream(seed, 3), last] for seed in (2, 3, 4)]


def test_a_loop_may_run_inside_a_scope() -> None:
    async def main() -> list[Any]:
        return await together(draws(2), draws(2))

    with reproducible(seed=5):
        drawn = [draw()]
        assert asyncio.run(main()) == [stream(1, 2)] * 2
        assert asyncio.run(draws_in_a_block(2, 2)) == stream(2, 2)
        drawn.append(draw())
    assert drawn == stream(5, 2)


def test_a_decorated_function_that_waits_may_run_on_the_loop_s_executor_meanwhile() -> None:
    @reproducible(seed=3, on_conflict="wait")  # the thread may be there before the coroutine has been put aside
    def on_a_thread() -> list[Draw]:
        return [draw(), draw()]

    @reproducible(seed=1)
    async def main() -> list[list[Draw]]:
        first = draw()
        other = await asyncio.to_thread(on_a_thread)
        return [[first, draw()], other]

    assert asyncio.run(main()) == [stream(1, 2), stream(3, 2)]


def test_a_thread_of_the_loop_s_executor_is_refused_while_a_plain_block_is_open() -> None:
    async def main() -> list[Draw]:
        with reproducible(seed=1):
            drawn = [draw()]
            with pytest.raises(ScopeConflictError):
                await asyncio.to_thread(asyncio.run, draws_in_a_block(2, 1))
            return [*drawn, draw()]

    assert asyncio.run(main()) == stream(1, 2)


def test_a_body_keeps_the_context_variables_of_its_task() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    @reproducible(seed=1)
    async def body(value: str) -> str:
        variable.set(value)
        await asyncio.sleep(0)
        return variable.get()

    async def main() -> tuple[list[str], str, str]:
        tasks = await together(body("one"), body("two"))
        before = variable.get()
        await body("set by a coroutine awaited directly")
        return tasks, before, variable.get()

    assert asyncio.run(main()) == (["one", "two"], "outside", "set by a coroutine awaited directly")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_draw_their_own_streams() -> None:
    async def main() -> tuple[list[Any], list[Any]]:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        decorated = await together(draws(2), draws(2))
        blocks = await together(draws_in_a_block(1, 2), draws_in_a_block(2, 2))
        return decorated, blocks

    decorated, (drawn, refused) = asyncio.run(main())
    assert decorated == [stream(1, 2)] * 2
    assert drawn == stream(1, 2)
    assert isinstance(refused, ScopeConflictError)
