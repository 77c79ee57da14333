"""What cannot be decorated, and operations without a deterministic form, are refused with the way out."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
import torch

from deterministic import reproducible

from .streams import no_scope_is_open


class CallableObject:
    def __call__(self) -> None: ...


@contextlib.contextmanager
def manager() -> Iterator[None]:
    yield


@contextlib.asynccontextmanager
async def async_manager() -> AsyncIterator[None]:
    yield


def generator() -> Iterator[None]:
    yield


@functools.wraps(generator)
def wrapper() -> Iterator[None]:
    return generator()


async def coroutine() -> None: ...


@functools.wraps(coroutine)
def synchronous_wrapper() -> None: ...


NOT_FUNCTIONS: list[Any] = [
    CallableObject,
    CallableObject(),
    len,
    [].append,
    functools.partial(generator),
    functools.lru_cache(generator),
    property(lambda self: None),
    functools.cached_property(lambda self: None),
    torch.nn.Linear(1, 1),
]
WRAPPED_BODIES: list[Any] = [manager, async_manager, wrapper, synchronous_wrapper]


@pytest.mark.parametrize("decorator", [reproducible, reproducible(seed=1)])
@pytest.mark.parametrize("thing", NOT_FUNCTIONS, ids=lambda thing: type(thing).__name__)
def test_what_is_no_function_is_refused_with_what_to_do(decorator: Callable[[Any], Any], thing: Any) -> None:
    with pytest.raises(TypeError) as refused:
        decorator(thing)
    text = str(refused.value)
    assert "only functions and methods can be decorated" in text
    assert repr(thing) in text
    assert "with reproducible(...):" in text
    assert "methods" in text


@pytest.mark.parametrize("decorator", [reproducible, reproducible(seed=1)])
@pytest.mark.parametrize("thing", WRAPPED_BODIES, ids=lambda thing: thing.__name__)
@pytest.mark.parametrize("kind", [lambda thing: thing, staticmethod, classmethod])
def test_a_function_whose_body_runs_later_is_refused_with_what_to_do(
    decorator: Callable[[Any], Any], thing: Any, kind: Callable[[Any], Any]
) -> None:
    with pytest.raises(TypeError) as refused:
        decorator(kind(thing))
    text = str(refused.value)
    assert "outside of the scope" in text
    assert "Put @reproducible under the other decorator" in text
    assert repr(inspect.unwrap(thing)) in text


def test_what_is_not_callable_is_no_seed() -> None:
    wrong: Any = reproducible
    with pytest.raises(ValueError, match="seed is not an integer"):
        wrong("train")


def put(values: list[int]) -> torch.Tensor:
    return torch.zeros(4).put_(torch.tensor(values), torch.ones(len(values)))


def unpool() -> torch.Tensor:
    pooled, indices = torch.nn.functional.max_pool2d(torch.rand(1, 1, 4, 4), 2, return_indices=True)
    return torch.nn.functional.max_unpool2d(pooled, indices, [2])


def line_of(function: Any, text: str) -> str:
    """Return the place of the first line of `function` that contains `text`, as error texts write it."""
    lines, first = inspect.getsourcelines(function)
    offset = next(offset for offset, line in enumerate(lines) if text in line)
    return f"{__file__}:{first + offset}"


def whole_text(error: BaseException) -> str:
    """Return what a traceback prints: before Python 3.11 notes are part of the message."""
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


def assert_explained_once(error: BaseException, line: str) -> None:
    text = whole_text(error)
    assert "does not have a deterministic implementation" in text
    assert text.count("called at:") == 1
    assert f"called at: {line}\n" in text
    assert 'deterministic="warn"' in text
    assert "run.allow_nondeterministic()" in text
    if sys.version_info >= (3, 11):
        assert "called at:" not in str(error)


@pytest.mark.parametrize(("operation", "where"), [(lambda: put([1, 1]), (put, "put_")), (unpool, (unpool, "unpool2d"))])
def test_a_refused_operation_names_the_user_s_line_and_the_way_out(
    operation: Callable[[], object], where: tuple[Any, str]
) -> None:
    line = line_of(*where)
    for refuse in (reproducible(seed=1)(operation), lambda: in_a_block(operation)):
        with pytest.raises(RuntimeError) as refused:
            refuse()
        assert_explained_once(refused.value, line)
        assert no_scope_is_open()


def in_a_block(operation: Callable[[], object]) -> None:
    with reproducible(seed=1):
        operation()


def test_a_refused_operation_is_explained_once_however_many_scopes_it_leaves() -> None:
    @reproducible(seed=2)
    def outer() -> None:
        with reproducible(seed=3), reproducible(seed=4):
            reproducible(seed=5)(put)([1, 1])

    with reproducible(seed=1), pytest.raises(RuntimeError) as refused:
        outer()
    assert_explained_once(refused.value, line_of(put, "put_"))


def test_a_refused_operation_in_a_generator_names_its_line() -> None:
    @reproducible(seed=1)
    def steps() -> Generator[int, None, None]:
        yield 1
        put([1, 1])

    it = steps()
    next(it)
    with pytest.raises(RuntimeError) as refused:
        next(it)
    assert_explained_once(refused.value, line_of(put, "put_"))


def test_a_refused_operation_in_a_coroutine_names_its_line() -> None:
    @reproducible(seed=1)
    async def body() -> None:
        put([1, 1])

    with pytest.raises(RuntimeError) as refused:
        body().send(None)
    assert_explained_once(refused.value, line_of(put, "put_"))


def test_a_refused_operation_in_a_backward_pass_names_the_line_that_called_backward() -> None:
    @reproducible(seed=1)
    def train() -> None:
        leaf = torch.rand(1, 1, 4, 4, requires_grad=True)
        output = torch.nn.functional.adaptive_max_pool2d(leaf, 2)
        output.register_hook(lambda gradient: put([1, 1]) and None)
        output.sum().backward()

    with pytest.raises(RuntimeError) as refused:
        train()
    assert_explained_once(refused.value, line_of(put, "put_"))


def test_other_errors_are_left_as_they_are() -> None:
    @reproducible(seed=1)
    def fails() -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError) as raised:
        fails()
    assert whole_text(raised.value) == "something else"


def test_the_ways_out_work() -> None:
    with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
        assert reproducible(seed=1, deterministic="warn")(put)([1, 2]).tolist() == [0, 1, 1, 0]
    with reproducible(seed=1) as run, run.allow_nondeterministic():
        assert put([1, 2]).tolist() == [0, 1, 1, 0]
