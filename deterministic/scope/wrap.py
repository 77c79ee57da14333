"""The decorator: functions, methods, generators, coroutines and async generators, and the object that it makes of one.

A body that yields or awaits is driven step by step. Each step runs inside the scope; between two steps the part of the
stack from the body's entry upward is put aside, so that the caller, and every other body, goes on with its own state.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import logging
import sys
import types
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import wrapt

from ..errors import ScopeConflictError, type_error
from . import stack
from .entry import DECORATED, ScopeEntry, ScopeSite
from .interrupt import indivisible
from .refusals import explain_refusal
from .repeated_steps import RepeatedSteps

if TYPE_CHECKING:
    _FunctionWrapper = wrapt.FunctionWrapper[Any, Any]
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper[Any, Any]
else:  # generic since wrapt 2
    _FunctionWrapper, _BoundFunctionWrapper = wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper

_log = logging.getLogger("deterministic")


class Body:
    """One call of a decorated function: a context manager around each of its steps.

    Entering opens the scope the first time and puts the suspended part back later; leaving suspends it, or closes it
    once the body has finished or raised.
    """

    __slots__ = ("_enter", "_entry", "_on_conflict", "close", "finished")

    def __init__(self, enter: Callable[[], ScopeEntry], on_conflict: stack.OnConflict, *, stepwise: bool) -> None:
        self._enter = enter
        self._on_conflict = on_conflict
        self._entry: ScopeEntry | None = None
        self.finished = not stepwise
        self.close: Callable[[], object] | None = None

    @property
    def has_begun(self) -> bool:
        return self._entry is not None

    @property
    def is_suspended(self) -> bool:
        """Whether it waits for its next step, put aside."""
        return self._entry is not None and self._entry.is_open and self._entry.part is not None

    @indivisible
    def __enter__(self) -> None:
        if getattr(stack, "resume", None) is None:  # as in a block: the interpreter is ending
            return
        if self._entry is None:
            self._entry = self._enter()
        elif self._entry.part is not None:
            stack.resume(self._entry.part, on_conflict=self._on_conflict)

    @indivisible
    def __exit__(self, exc_type: Any, exc: BaseException | None, traceback: Any) -> None:
        if getattr(stack, "leave", None) is None:
            return
        entry = cast(ScopeEntry, self._entry)
        if exc is None and not self.finished:
            stack.suspend(entry)
            return
        self.finished = True
        try:
            if exc is not None:
                explain_refusal(exc)
                if self.close is not None:
                    # Ctrl-C can be raised just outside of the body, which then is not over: its blocks close first.
                    self.close()
        finally:
            stack.leave(entry)


def decorate(
    function: Callable[..., Any], enter: Callable[[ScopeSite], ScopeEntry], on_conflict: stack.OnConflict
) -> Callable[..., Any]:
    """Return `function` such that each call of it, or each step of its body, runs in a scope that `enter` opens."""
    if isinstance(function, (classmethod, staticmethod)):
        return cast("Callable[..., Any]", type(function)(decorate(function.__func__, enter, on_conflict)))
    inner = getattr(function, "__func__", function)
    if not isinstance(inner, types.FunctionType) or not isinstance(function, (types.FunctionType, types.MethodType)):
        raise type_error(
            "only functions and methods can be decorated with @reproducible",
            (f"found: {function!r} ({type(function).__name__})",),
            "Decorate the class's methods, or write `with reproducible(...):` around the call.",
        )
    site = ScopeSite(inner.__code__, inner.__code__.co_firstlineno, DECORATED)
    drive = _driver_of(inner)
    new_body = partial(Body, partial(enter, site), on_conflict)
    steps = RepeatedSteps(f"{inner.__qualname__} at {site}")
    call = _plain_call(new_body, steps) if drive is None else _stepwise_call(new_body, drive)
    kind = DecoratedGenerator if inspect.isgeneratorfunction(inner) else Decorated
    return cast("Callable[..., Any]", kind(function, call))


def _driver_of(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return what drives the body of this kind of function step by step; None for a plain function."""
    for is_kind, drive in _DRIVERS:
        if is_kind(function):
            return drive
        if is_kind(inspect.unwrap(function)):
            raise type_error(
                "the body of this function would run outside of the scope",
                (f"found: {function!r}", f"wraps: {inspect.unwrap(function)!r}"),
                "Put @reproducible under the other decorator, directly on the generator or coroutine function.",
            )
    return None


def _plain_call(new_body: Callable[..., Body], steps: RepeatedSteps) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        with new_body(stepwise=False):
            return steps.watch(wrapped, *args, **kwargs) if steps.calls_left > 0 else wrapped(*args, **kwargs)

    return call


def _stepwise_call(new_body: Callable[..., Body], drive: Callable[..., Any]) -> Callable[..., Any]:
    def call(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        # The body is made at the first step, by its driver, for two reasons. A coroutine that is never awaited warns
        # once. And the garbage collector finalises older objects first: the driver, which closes the body inside its
        # scope. What a wrong call raises now as it should is the TypeError of binding the arguments.
        inspect.signature(wrapped).bind(*args, **kwargs)
        driver = drive(partial(wrapped, *args, **kwargs), new_body(stepwise=True))
        driver.__name__, driver.__qualname__ = wrapped.__name__, wrapped.__qualname__
        return driver

    return call


def _drive(make: Callable[[], Any], body: Body, *, is_whole_body: bool = True) -> Generator[Any, Any, Any]:
    """Run what `make` returns (a generator, a coroutine, an awaitable of an async generator), each step inside `body`.

    One item of an async generator is not the whole body, and does not finish it.
    """
    inner = make()
    body.close = inner.close
    step, argument = inner.send, None
    while True:
        try:
            with body:
                try:
                    item = step(argument)
                except StopIteration as stop:
                    body.finished = is_whole_body
                    return stop.value
                finally:
                    argument = None  # an exception kept here would keep its frames alive
        except BaseException as error:
            _end(inner, body, error)
            raise
        try:
            argument = yield item
            step = inner.send
        except GeneratorExit:
            _close(inner, body)
            raise
        except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the body
            step, argument = inner.throw, error


def _close(inner: Any, body: Body) -> None:
    """Close a suspended body inside its scope. Called by close() and by finalisers, which cannot be told apart."""
    if sys.is_finalizing():
        inner.close()
    elif stack.transition.is_mine():
        # A finaliser, in the middle of entering or leaving another scope.
        stack.transition.postpone(partial(_close, inner, body))
    else:
        try:
            with body:
                body.finished = True
                inner.close()
        except ScopeConflictError as conflict:
            if not body.is_suspended:
                raise
            _close_when_idle(inner, body, conflict)


def _end(inner: Any, body: Body, error: BaseException) -> None:
    """Close a body whose driver ends with `error` while it is not over: it was refused, or Ctrl-C came in between."""
    if not body.has_begun:
        inner.close()
    elif body.is_suspended and isinstance(error, ScopeConflictError):
        _close_when_idle(inner, body, error)
    elif body.is_suspended:
        _close(inner, body)


def _close_when_idle(inner: Any, body: Body, conflict: ScopeConflictError) -> None:
    """Close a body later that may not go on now: its cleanup belongs in its own scope, not in another's."""
    _log.warning("%s will be closed once no scope is open: %s", inner, conflict)
    stack.transition.postpone_until_idle(partial(_close, inner, body))


_steps = types.coroutine(partial(_drive))
"""The same to be awaited: of a partial, since of a function itself what it returns would say so everywhere."""


async def _drive_coroutine(make: Callable[[], Any], body: Body) -> Any:
    return await _steps(make, body)


async def _drive_async_generator(make: Callable[[], AsyncGenerator[Any, Any]], body: Body) -> AsyncGenerator[Any, Any]:
    inner = make()
    awaitable = _without_hooks(inner)
    while True:
        try:
            item = await _steps(awaitable, body, is_whole_body=False)
        except StopAsyncIteration:
            return
        try:
            awaitable = partial(inner.asend, (yield item))
        except GeneratorExit:
            await _steps(inner.aclose, body)
            raise
        except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the body
            awaitable = partial(inner.athrow, error)


def _leave_to_driver(inner: AsyncGenerator[Any, Any]) -> None:
    """What a collected body does: nothing; the driver that is collected with it closes it inside its scope."""


def _without_hooks(inner: AsyncGenerator[Any, Any]) -> Callable[[], Any]:
    """Start `inner` unknown to the event loop, which would close it beside its driver, outside of its scope."""

    def start() -> Any:
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=_leave_to_driver)
        try:
            return inner.asend(None)
        finally:
            sys.set_asyncgen_hooks(*hooks)

    return start


_DRIVERS: tuple[tuple[Callable[[Any], bool], Callable[..., Any]], ...] = (
    (inspect.isgeneratorfunction, _drive),
    (inspect.iscoroutinefunction, _drive_coroutine),
    (inspect.isasyncgenfunction, _drive_async_generator),
)


def _by_name(module: str, qualname: str) -> Any:
    return attrgetter(qualname)(importlib.import_module(module))


class _ByName:
    """Pickling and copying by name, as of any function: a copy is the same function, still decorated."""

    # Dynamo takes the wrapper for the function under it, and would lose the scope; with this it breaks the graph.
    _torchdynamo_disable = True

    def __reduce__(self) -> Any:
        wrapper = cast(Any, self)
        if "<locals>" in wrapper.__qualname__:
            raise type_error(
                "a decorated function can be pickled only by its name, and this one is local to another function",
                (f"found: {wrapper.__module__}.{wrapper.__qualname__}",),
                "Move it to the top level of its module.",
            )
        return _by_name, (wrapper.__module__, wrapper.__qualname__)

    def __reduce_ex__(self, protocol: object) -> Any:
        return self.__reduce__()

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __prepare_scriptable__(self) -> Any:
        # torch.jit.script calls this; it would compile the function under the decorator, without its scope.
        raise type_error(
            "torch.jit.script would drop the scope of a function decorated with @reproducible",
            (f"found: {cast(Any, self).__qualname__}",),
            "Script the function under the decorator, and enter the scope around its calls.",
        )


class BoundDecorated(_ByName, _BoundFunctionWrapper):
    """A decorated method, bound: pickled and copied with the object that it is bound to."""

    def __reduce__(self) -> Any:
        instance = getattr(self.__wrapped__, "__self__", None)
        if instance is None:
            return super().__reduce__()
        return getattr, (instance, self.__name__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        instance = getattr(self.__wrapped__, "__self__", None)
        return self if instance is None else getattr(copy.deepcopy(instance, memo), self.__name__)


class Decorated(_ByName, _FunctionWrapper):
    """A decorated function: to `inspect` and to type checkers, the function itself."""

    __bound_function_wrapper__ = BoundDecorated


class _NotInlined:
    """What dynamo traces instead of a generator function, of which it does not ask whether it is disabled."""

    @property
    def _torchdynamo_inline(self) -> Any:
        # In this package, which is never traced (`reproducible`): the call breaks the graph and is made.
        def call(*args: Any, **kwargs: Any) -> Any:
            return cast(Any, self)(*args, **kwargs)

        return call


class BoundDecoratedGenerator(_NotInlined, BoundDecorated):
    """A decorated generator method, bound."""


class DecoratedGenerator(_NotInlined, Decorated):
    """A decorated generator function."""

    __bound_function_wrapper__ = BoundDecoratedGenerator
