"""`reproducible`: the request, and its forms as `with` block, start/stop and decorator."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from . import _stack
from ._config import OMITTED, Config, Level, Omitted, validate_level, validate_num_threads
from ._interrupt import indivisible
from ._refusals import explain_refusal
from ._run import Run
from ._seeds import DEFAULT_SEED, derive_seed, validate_seed
from .errors import DeterministicError, ScopeOrderWarning, explain

if TYPE_CHECKING:
    import torch

    from .sources.base import Source
    from .sources.own_generators import Generator

P = ParamSpec("P")
R = TypeVar("R")


class Scope:
    """What `reproducible(...)` returns: a request that can be entered any number of times, also inside itself.

    It holds what was asked for and nothing that was saved, so one object nests, recurses, is reused, and decorates any
    number of functions.
    """

    def __init__(
        self,
        seed: int | None | Omitted = OMITTED,
        *,
        deterministic: Level = True,
        generators: Iterable[Generator] = (),
        num_threads: int | None = None,
        per_rank: bool = False,
        on_conflict: _stack.OnConflict = "raise",
        enabled: bool = True,
    ) -> None:
        self._seed = seed if seed is None or isinstance(seed, Omitted) else validate_seed(seed)
        self._deterministic = validate_level(deterministic)
        self._num_threads = validate_num_threads(num_threads)
        self._per_rank = _validate_bool("per_rank", per_rank)
        self._enabled = _validate_bool("enabled", enabled)
        if on_conflict not in ("raise", "wait"):
            raise ValueError(
                explain(
                    "on_conflict= names no behaviour",
                    (f"found: {on_conflict!r}", "expected: 'raise' or 'wait'"),
                    "Pass 'raise' to refuse a second thread, or 'wait' to queue it.",
                )
            )
        self._on_conflict: _stack.OnConflict = on_conflict
        self._own: tuple[Source, ...] = ()
        generators = tuple(generators)
        if generators:
            from .sources.own_generators import own_generators

            self._own = own_generators(generators)

    def __repr__(self) -> str:
        return f"reproducible(seed={self._seed!r}, deterministic={self._deterministic!r})"

    @indivisible
    def __enter__(self) -> Run:
        if not self._enabled:
            return Run(None)
        frame = _calling_frame()
        run: Run = self.enter(_stack.Site(frame.f_code, frame.f_lineno, id(frame))).run
        return run

    @indivisible
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._enabled:
            return
        if exc is not None:
            explain_refusal(exc)
        entry = _stack.find(self, id(_calling_frame()))
        if entry is not None:  # it may have been closed already, by a warning's account
            _stack.leave(entry)

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
        site = _stack.Site(frame.f_code, frame.f_lineno, _stack.STARTED)
        again = _stack.find_started(self, site)
        if again is not None:
            _stack.leave(again)
        entry = self.enter(site)
        entry.owner = entry.owner._replace(task=None)  # a later cell may run in another task
        run: Run = entry.run
        if again is not None:
            warnings.warn(
                explain(
                    "a scope was started again without stop(); the first one was closed",
                    (f"first: {again.site}", f"again: {site}"),
                    "Call stop() at the end, or use `with` or the decorator.",
                ),
                ScopeOrderWarning,
                stacklevel=2,
            )
        return run

    @indivisible
    def stop(self) -> None:
        """Leave what `start()` entered.

        Raises:
            DeterministicError: It was not started.
        """
        if not self._enabled:
            return
        entry = _stack.find_started(self, None)
        if entry is None:
            raise DeterministicError(
                explain(
                    "stop() without start()",
                    (f"found: {self!r}, which is not started",),
                    "Keep the object: scope = reproducible(...); scope.start(); ...; scope.stop().",
                )
            )
        _stack.leave(entry)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Decorate `function`: every call of it is a scope of its own, which starts from the seed."""
        from ._wrap import decorate

        return decorate(self, function) if self._enabled else function

    def enter(self, site: _stack.Site, *, stepwise: bool = False) -> _stack.Entry:
        """Enter once; whoever calls leaves the entry, and is indivisible."""
        entry = _stack.enter(
            self,
            self._config(),
            site,
            self._own,
            on_conflict=self._on_conflict,
            stepwise=stepwise,
        )
        entry.run = Run(entry)
        return entry

    @property
    def on_conflict(self) -> _stack.OnConflict:
        """What a second thread meets."""
        return self._on_conflict

    def _config(self) -> Config:
        seed = self._seed
        if isinstance(seed, Omitted):
            enclosing = _stack.innermost()
            seed = DEFAULT_SEED if enclosing is None else enclosing.config.seed
        if self._per_rank and seed is not None:
            seed = derive_seed(seed, "rank", _rank())
        return Config(seed, self._deterministic, self._num_threads)


class _Reproducible:
    """Seed every generator, set every determinism flag, and give everything back afterwards.

    As a context manager around a block, as a decorator of a function, or with `start()` and `stop()` in a notebook. A
    decorated function draws from the seed **at every call**: decorate the training run, not the training step.
    Generators, coroutines and async generators are decorated too: their state is put aside whenever they yield or
    await, so their caller is never affected.

    State it touches: everything in `deterministic.sources.SOURCES` is saved and restored; the seed seeds Python's
    `random`, `numpy.random` and torch on every device; `deterministic` decides which flags are set. For seeds below
    2**32 the draws are those of `random.seed(s)`, `numpy.random.seed(s)`, `torch.manual_seed(s)`; larger ones are
    passed whole to Python and as two words to numpy, and torch gets a seed derived from all 64 bits.

    Thread-safety: the generators are the process's own. A second thread, or a second asyncio task with a plain `with`,
    that enters while a scope is open gets a `ScopeConflictError`; what other threads draw meanwhile mixes in.

    Args:
        seed: 0 <= seed < 2**64. Omitted: the enclosing scope's, else 42. None: isolate and restore without seeding.
        deterministic: False, seeds only; "cudnn"; True, deterministic algorithms, an op without one raises; "warn",
            it warns.
        generators: The user's own generators (`torch.Generator`, `numpy.random.Generator`, `numpy.random.RandomState`,
            `random.Random`): saved, each seeded by a key of its own, restored.
        num_threads: Threads that torch uses for one CPU operation inside; None leaves the number alone.
        per_rank: Derive a seed of its own for each rank (torch.distributed, else the variable RANK, else rank 0).
        on_conflict: "raise", or "wait" to queue behind another thread's scope.
        enabled: False does nothing and costs nothing.

    Returns:
        A `Scope`; entering it gives a `Run`. With a function as its only argument, that function decorated.

    Raises:
        SeedError: The seed is of the wrong type or out of range.
        TypeError: Another argument is of the wrong type, or what is decorated cannot be.
        ValueError: Another argument has no meaning.
        ScopeConflictError: On entering: see above.

    Example:
        >>> import torch
        >>> from deterministic import reproducible
        >>> with reproducible(seed=42) as run:
        ...     first = torch.rand(1)
        >>> @reproducible(seed=42)
        ... def draw():
        ...     return torch.rand(1)
        >>> bool(draw() == first)
        True
    """

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def __call__(
        self,
        seed: int | None | Omitted = OMITTED,
        *,
        deterministic: Level = True,
        generators: Iterable[torch.Generator | Any] = (),
        num_threads: int | None = None,
        per_rank: bool = False,
        on_conflict: _stack.OnConflict = "raise",
        enabled: bool = True,
    ) -> Scope: ...

    def __call__(self, seed: Any = OMITTED, /, **options: Any) -> Any:
        if "seed" in options and isinstance(seed, Omitted):
            seed = options.pop("seed")
        if callable(seed) or isinstance(seed, (classmethod, staticmethod)):
            return Scope(**options)(seed)
        return Scope(seed, **options)

    def __repr__(self) -> str:
        return "<deterministic.reproducible>"

    def from_config(self, config: Mapping[str, Any] | str | os.PathLike[str], **overrides: Any) -> Scope:
        """Make a scope from a configuration: the keys `seed`, `deterministic` and `deterministic_cudnn` of a mapping.

        Other keys are ignored. With neither a seed nor a level the scope does nothing and costs nothing; `seed: 0` is
        a seed. A config that gives a seed and no level means False; a level without a seed sets the flags alone.

        Args:
            config: A mapping (OmegaConf's DictConfig is one), or the path of a .yaml, .yml or .json file.
            overrides: Arguments of `reproducible` that win over the file's.

        Returns:
            A `Scope`.

        Raises:
            TypeError, ValueError, SeedError: A value is of the wrong type or has no meaning, a key of ours is
                misspelt, or the file is of another kind.
            OSError: The file cannot be read.

        Example:
            >>> from deterministic import reproducible
            >>> reproducible.from_config({"seed": 0, "deterministic_cudnn": True, "lr": 0.1})
            reproducible(seed=0, deterministic='cudnn')
        """
        from ._from_config import options_from

        return Scope(**options_from(config, overrides))


reproducible = _Reproducible()


def seed_everything(seed: int, *, deterministic: Level = False) -> torch.Generator:
    """Seed every generator of the process, for the first line of a script; nothing is given back.

    The unscoped form of `reproducible`: it touches the same sources, in the same way, and saves nothing. Inside a
    scope it reseeds the scope, which restores all the same.

    Args:
        seed: 0 <= seed < 2**64.
        deterministic: The level, as for `reproducible`; by default flags are left alone.

    Returns:
        torch's default CPU generator, as `torch.manual_seed` does.

    Raises:
        SeedError: The seed is of the wrong type or out of range; nothing was seeded.
        TypeError: `deterministic` names no level; nothing was seeded.

    Example:
        >>> seed_everything(42).initial_seed()
        42
    """
    config = Config(validate_seed(seed), validate_level(deterministic))
    import torch

    from . import _snapshot
    from .sources import SOURCES

    _snapshot.apply(_snapshot.capture(SOURCES), config)
    return torch.default_generator


_CONTEXTLIB = contextlib.__file__


def _calling_frame() -> FrameType:
    """Return the frame that entered or left the scope, past an `ExitStack` or the like."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == _CONTEXTLIB:
        frame = frame.f_back
    return frame or sys._getframe(2)


def _rank() -> int:
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(os.environ.get("RANK", "0"))


def _validate_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(
            explain(f"{name} is not a bool", (f"found: {value!r}", "expected: True or False"), f"Pass {name}=True.")
        )
    return value
