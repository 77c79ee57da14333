"""Plays what happens to scopes on the library and on the model of it alike, and compares the two after every event."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from deterministic import current_run, describe
from deterministic.errors import ScopeOrderWarning
from deterministic.ground import snapshot
from deterministic.ground.config import OMITTED
from deterministic.scope import interrupt, stack
from deterministic.scope.entry import ScopeEntry
from deterministic.scope.request import Scope
from deterministic.sources import ALGORITHMS, SOURCES

from .scope_model import CHANGES, STREAMS, Model, World, by_hand, numpy_random, observe, own_generators

ENDINGS = ("return", "raise", "close", "drop")
START: tuple[Callable[[Scope], object], ...] = (
    lambda scope: scope.start(),
    lambda scope: scope.start(),
)


class Raised(Exception):
    """Ends the block or the body that it is raised in."""


class Caught(Exception):
    """Thrown into a body that catches it and goes on."""


def end() -> None:
    """What a body is told to do as its last action."""


class Request(NamedTuple):
    """A scope with what the model must know of it."""

    scope: Scope
    seed: Any
    own: Collection[str]
    sets_flags: bool


class Opened:
    """A decorated generator or coroutine; a `with` block in a frame of its own (no request: an opt-out); a start()."""

    def __init__(self, request: Request | None, *, line: int = 0) -> None:
        self.request, self.line = request, line
        self.driver: Any = None
        self.world: Any = None
        self.entry: ScopeEntry | None = None
        self.part: list[World] = []
        self.runs = False


class Player:
    """One program: what it has open, and what should be.

    Attributes:
        strict: Whether warnings are errors.
        went_wrong: Whether the library and the model have parted.
        touched: Whether anything was changed outside of all scopes, which then stays.
    """

    def __init__(self) -> None:
        self.own = own_generators()
        self.original, self.described = snapshot.capture(SOURCES), describe()
        self.at_start = self.observe_globals()
        self.model = Model(lambda: observe(self.own))
        self.blocks: list[Opened] = []
        self.bodies: list[Opened] = []
        self.started: list[Opened] = []
        self.unordered = self.warned = 0
        self.strict = self.went_wrong = self.touched = False

    def observe_globals(self) -> dict[str, object]:
        return {name: value for name, value in observe(self.own).items() if name not in self.own}

    def perform(self, inside: Sequence[int], action: Callable[[], object]) -> None:
        """Do `action` inside of the bodies that `inside` picks: each is resumed for it, and suspended afterwards.

        One warning is expected for each scope that is closed out of order, whether warnings are errors or not.
        """
        self.unordered = self.warned = 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("error" if self.strict else "always")
            try:
                self.within(inside, action)
                found = [str(warning.message) for warning in caught]
                assert self.warned + len(found) == self.unordered, found
            except BaseException:
                self.went_wrong = True
                raise

    def within(self, inside: Sequence[int], action: Callable[[], object]) -> None:
        idle = self.idle()
        if inside and idle:
            body = idle[inside[0] % len(idle)]
            self.step(body, lambda: body.driver.send(lambda: self.within(inside[1:], action)))
        else:
            action()

    def idle(self) -> list[Opened]:
        return [body for body in self.bodies if not body.runs]

    def change(self, what: str) -> None:
        self.touched |= len(self.model.worlds) == 1
        CHANGES[what](self.own)

    def fail(self) -> None:
        raise Raised

    def call(self, request: Request, what: str, *, raises: bool) -> None:
        worlds = []

        @request.scope
        def called() -> None:
            worlds.append(self.entered(request))
            self.change(what)
            self.model.record()
            if raises:
                raise Raised

        self.model.record()
        with self.ending():
            called()
        self.left(worlds[-1], "a decorated call")

    def call_body(self, request: Request, kind: str) -> None:
        body = Opened(request)
        body.driver = request.scope(getattr(self, kind))(body, request)
        self.bodies.append(body)
        self.step(body, lambda: body.driver.send(None))

    def generator(self, body: Opened, request: Request) -> Generator[None, Any, None]:
        body.world = self.entered(request)
        action: Any = None
        while action is not end:
            try:
                action = yield
            except BaseException as error:
                self.woken(body)
                if not isinstance(error, Caught):
                    raise
            else:
                self.woken(body)
                try:
                    action()
                finally:
                    self.model.record()

    awaitable: Any = types.coroutine(generator)

    async def coroutine(self, body: Opened, request: Request) -> None:
        await self.awaitable(body, request)

    def woken(self, body: Opened) -> None:
        self.model.put_back(body.part)
        self.model.check("resuming")

    def step(self, body: Opened, send: Callable[[], object], *, closes: bool = False) -> None:
        self.model.record()
        body.runs, over = True, True
        with self.ending():
            send()
            over = closes
        body.runs = False
        if over:
            self.bodies.remove(body)
            self.left(body.world, "the end of a body")
        else:
            body.part = self.model.take_off(body.world)
            self.model.check("suspending")

    def end_body(self, body: Opened, how: str) -> None:
        self.step(body, lambda: self.conclude(body, how), closes=how in ("close", "drop"))

    def conclude(self, opened: Opened, how: str) -> None:
        if how == "return":
            opened.driver.send(end)
        elif how in ("raise", "catch"):
            opened.driver.throw(Raised() if how == "raise" else Caught())
        elif how == "close" or self.strict:  # a finaliser cannot raise, so a warning in one that is an error is lost
            opened.driver.close()
        else:
            opened.driver = None

    def enter(self, request: Request | None, *, by_exit_stack: bool = False) -> None:
        block = Opened(request)
        block.driver = self.block(block, by_exit_stack)
        self.model.record()
        next(block.driver)
        self.blocks.append(block)

    def block(self, block: Opened, by_exit_stack: bool) -> Generator[None, Any, None]:
        scope = current_run().allow_nondeterministic() if block.request is None else block.request.scope
        with ExitStack() as stack, nullcontext() if by_exit_stack else scope:
            if by_exit_stack:
                stack.enter_context(scope)
            block.world = self.entered(block.request)
            yield

    def leave(self, block: Opened, how: str) -> None:
        self.blocks.remove(block)
        self.model.record()
        with self.ending():
            self.conclude(block, how)
        self.left(block.world, "leaving")

    def start(self, request: Request, line: int) -> None:
        same = [old for old in self.started if old.request is request or old.line == line]
        if same and self.strict:
            return
        self.model.record()
        START[line](request.scope)
        closed = self.closed()
        assert len(closed) == bool(same)
        assert set(closed) <= set(same)
        for old in closed:
            self.unordered += self.model.take_out(old.world) + 1
        again = Opened(request, line=line)
        again.entry, again.world = stack.innermost(), self.entered(request)
        self.started.append(again)

    def stop(self, request: Request | None) -> None:
        assert request is not None
        self.model.record()
        with self.ending():
            request.scope.stop()
        (old,) = self.closed()
        assert old.request is request
        self.left(old.world, "stopping")

    def closed(self) -> list[Opened]:
        closed = [old for old in self.started if old.entry is not None and not old.entry.is_open]
        self.started = [old for old in self.started if old not in closed]
        return closed

    def entered(self, request: Request | None) -> World:
        if request is None:
            return self.model.lay({ALGORITHMS.name}, (), {})
        covered = set(self.at_start) | set(request.own)
        streams = STREAMS | set(request.own)
        seed = stack._entries[-1].config.seed if request.seed is OMITTED else request.seed
        unchanged = {"bit generator"} | (streams if seed is None else set())
        unchanged |= set() if request.sets_flags else covered - streams
        seeded = {} if seed is None else dict(by_hand(seed))
        if type(numpy_random.get_bit_generator()) is not np.random.MT19937:
            seeded.pop("numpy.random", None)
        return self.model.lay(covered, unchanged, seeded)

    def left(self, world: World, event: str) -> None:
        self.unordered += self.model.take_out(world)
        self.model.check(event)

    @contextmanager
    def ending(self) -> Iterator[None]:
        try:
            with suppress(StopIteration, Raised):
                yield
        except ScopeOrderWarning:
            self.warned += 1

    def end_all(self, order: Sequence[int]) -> None:
        """Close what is still open, each time the one that `order` picks and in the way that it picks."""
        picks = cycle(order)
        while still_open := [*self.started, *self.bodies, *self.blocks]:
            pick = next(picks)
            opened = still_open[pick % len(still_open)]
            if opened in self.bodies:
                self.end_body(opened, ENDINGS[pick % len(ENDINGS)])
            elif opened in self.blocks:
                self.leave(opened, ENDINGS[pick % len(ENDINGS)])
            else:
                self.stop(opened.request)

    def clear(self) -> None:
        """Leave nothing to the next program, also when this one has gone wrong."""
        stack._entries.clear()
        for opened in (*self.bodies, *self.blocks):
            with suppress(BaseException):
                opened.driver.close()
        stack._entries.clear()
        stack._suspended._references.clear()
        interrupt.uninstall()
        snapshot.restore(self.original)
