"""The request behind `reproducible(...)`, in its three forms: `with` block, start and stop, decorator."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..errors import DeterministicError, ScopeOrderWarning, type_error, warn
from ..ground import launch, watching
from ..ground.arguments import boolean, choice
from ..ground.config import OMITTED, Config, Level, Omitted, validate_level, validate_num_threads
from ..ground.entropy import EntropyMode, validate_entropy
from ..ground.ranks import current_rank
from ..ground.seeds import DEFAULT_SEED, derive_seed, validate_seed
from ..ground.synonyms import explained
from . import stack
from .entry import STARTED, ScopeEntry, ScopeSite
from .interrupt import indivisible
from .ownership import current_owner
from .refusals import explain_refusal
from .run import Run

if TYPE_CHECKING:
    from ..ground.source import Source
    from ..sources.own_generators import Generator

P = ParamSpec("P")
R = TypeVar("R")

_ON_CONFLICT: dict[stack.OnConflict, str] = {"raise": "refuse a second thread", "wait": "queue it"}


class Scope:
    """What `reproducible(...)` returns: a request that can be entered any number of times, also inside itself.

    It holds what was asked for and nothing that was saved, so one object nests, recurses, is reused, and decorates any
    number of functions.
    """

    @explained("reproducible(seed=42, deterministic=True)")
    def __init__(
        self,
        seed: int | None | Omitted = OMITTED,
        *,
        deterministic: Level = True,
        generators: Iterable[Generator] = (),
        num_threads: int | None = None,
        per_rank: bool = False,
        on_conflict: stack.OnConflict = "raise",
        entropy: EntropyMode | None = None,
        enabled: bool = True,
    ) -> None:
        self._seed = seed if seed is None or isinstance(seed, Omitted) else validate_seed(seed)
        self._deterministic = validate_level(deterministic)
        self._num_threads = validate_num_threads(num_threads)
        self._per_rank = boolean("per_rank", per_rank)
        self._entropy = validate_entropy(entropy)
        self._enabled = boolean("enabled", enabled)
        self._on_conflict: stack.OnConflict = choice("on_conflict", on_conflict, _ON_CONFLICT)
        self._fixed_config: Config | None = None
        if not self._per_rank and not isinstance(self._seed, Omitted):
            self._fixed_config = Config(self._seed, self._deterministic, self._num_threads, entropy=self._entropy)
        self._own: tuple[Source, ...] = ()
        if not isinstance(generators, Iterable):
            raise type_error(
                "generators= is not a list of generators",
                (f"found: {type(generators).__name__}", "expected: a list or tuple"),
                "Pass generators=[generator].",
            )
        generators = tuple(generators)
        if generators:
            from ..sources.own_generators import own_generators

            self._own = own_generators(generators)

    def __repr__(self) -> str:
        return f"reproducible(seed={self._seed!r}, deterministic={self._deterministic!r})"

    @indivisible
    def __enter__(self) -> Run:
        if not self._enabled:
            stack.disabled += 1
            return Run(None)
        run: Run = self.enter(ScopeSite.of(_calling_frame())).run
        return run

    @indivisible
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if getattr(stack, "find", None) is None:  # the interpreter is ending, and has emptied the modules
            return
        if not self._enabled:
            stack.disabled -= 1
            return
        if exc is not None:
            explain_refusal(exc)
        entry = stack.find(self, id(_calling_frame()))
        if entry is not None:  # it may have been closed already, by a warning's account
            stack.leave(entry)

    @indivisible
    def start(self) -> Run:
        """Enter without a block, for a notebook; `stop()` leaves.

        Starting again without stopping (the same object, or the same line of a cell that is run again) closes the
        first one and warns.

        Warns:
            ScopeOrderWarning: It was started before and not stopped.
        """
        if not self._enabled:
            return Run(None)
        frame = _calling_frame()
        site = ScopeSite(frame.f_code, frame.f_lineno, STARTED)
        again = stack.find_started(self, site)
        # Another thread's is left alone: entering says what is wrong.
        if again is not None and again.owner.life is current_owner().life:
            stack.leave(again)
            warn(
                ScopeOrderWarning,
                "a scope was started again without stop(); the first one was closed",
                (f"first: {again.site}", f"again: {site}"),
                "Call stop() at the end, or use `with` or the decorator.",
            )
        entry = self.enter(site)
        entry.owner = entry.owner._replace(task=None)  # a later cell may run in another task
        run: Run = entry.run
        return run

    @indivisible
    def stop(self) -> None:
        """Leave what `start()` entered.

        Raises:
            DeterministicError: It was not started.
        """
        if not self._enabled:
            return
        entry = stack.find_started(self, None)
        if entry is None:
            raise DeterministicError(
                "stop() without start()",
                (f"found: {self!r}, which is not started",),
                "Keep the object: scope = reproducible(...); scope.start(); ...; scope.stop().",
            )
        stack.leave(entry)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Decorate `function`: every call of it is a scope of its own, which starts from the seed."""
        from .wrap import decorate  # wrapt takes 30 ms to import

        return decorate(function, partial(self.enter, is_step=True), self._on_conflict) if self._enabled else function

    def enter(self, site: ScopeSite, *, is_step: bool = False) -> ScopeEntry:
        """Enter once; whoever calls leaves the entry, and is indivisible."""
        config = self.config()
        if launch.seen is not None:
            launch.seen[config.seed] = None
        return stack.enter(
            self,
            config,
            site,
            self._own,
            on_conflict=self._on_conflict,
            is_step=is_step,
            run=Run,
        )

    def arguments(self) -> dict[str, Any] | None:
        """Return the arguments with which another process opens this scope; None if it is not enabled.

        What the scope takes over from the enclosing one, or from `seed_everything`, is put in: the other process has
        neither. A TypeError says that it has generators of the user's, which are objects of this process.
        """
        if self._own:
            raise type_error(
                "a fresh interpreter has other generators than this one",
                (f"found: {self!r} with generators=",),
                "Open the scope inside the function, or leave isolate and stress out.",
            )
        if not self._enabled:
            return None
        enclosing, seed = stack.innermost(), self._seed
        if isinstance(seed, Omitted) and enclosing is not None:
            seed = enclosing.config.seed
        elif isinstance(seed, Omitted) and launch.remembered is not None:
            seed = launch.remembered
        policy = watching.in_effect  # and not by its source, which imports torch
        options = {
            "deterministic": self._deterministic,
            "num_threads": self._num_threads,
            "per_rank": self._per_rank,
            "entropy": self._entropy or (policy and policy.mode),
        }
        return options if isinstance(seed, Omitted) else {"seed": seed, **options}

    def config(self) -> Config:
        """Return what entering would apply now: what was omitted is the enclosing scope's."""
        if self._fixed_config is not None:
            return self._fixed_config
        seed, common = self._seed, None
        if isinstance(seed, Omitted):
            enclosing = stack.innermost()
            given = launch.given_seed()
            seed = enclosing.config.seed if enclosing is not None else DEFAULT_SEED if given is None else given
            common = None if enclosing is None else enclosing.config.seed_of_all_ranks
        if self._per_rank and seed is not None:
            common = seed if common is None else common
            seed = derive_seed(seed, "rank", current_rank())
        return Config(seed, self._deterministic, self._num_threads, seed_of_all_ranks=common, entropy=self._entropy)


_CONTEXTLIB = contextlib.__file__


def _calling_frame() -> FrameType:
    """Return the frame that entered or left the scope, past an `ExitStack` or the like."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == _CONTEXTLIB:
        frame = frame.f_back
    return frame or sys._getframe(2)
