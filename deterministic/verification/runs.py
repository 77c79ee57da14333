"""What is run again and again, how one repetition of it is to be run, and what is known of it beside its trace.

Importing it does not import torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar, Protocol, TypeAlias

from ..scope.request import Scope
from ..trace.file.model import TraceLevel

Control = bool | Scope
"""True: under `reproducible()`, as `deterministic run` would run it; False: as it is; or the scope to use."""


class Task(Protocol):
    """Something that can be run from its beginning any number of times."""

    way_out: ClassVar[str]  # how to go on where it uses an operation without a deterministic implementation

    @property
    def title(self) -> str:
        """What it is called."""

    def run(self) -> Any:
        """Run it, and return what it returns."""

    def carried(self) -> Mapping[str, str]:
        """Return fingerprints of what it will find when it begins, by name, as far as there are any."""


@dataclass(frozen=True)
class Plan:
    """How one repetition is to be run."""

    path: Path  # where its trace goes
    control: Control
    level: TraceLevel = "values"  # what to record
    segment: int | None = None  # record operations in this one alone, and end with it; None: all of it to its end
    ahead: bool = False  # record operations at the beginning alone: see `Recorder`
    keep: tuple[int, int] | None = None  # of which record there to keep which value: see `kept`; None: small ones
    # Tell memory that was there before the run began from what comes from outside torch. In a process of its own
    # nothing was left there by another run.
    earlier: bool = False
    more: bool = False  # another repetition will most likely follow, which can be made ready meanwhile


@dataclass
class Done:
    """What is known of a repetition beside its trace: plain values, which come back from another process.

    Of a run that was cut there is no trace where none can be read.
    """

    seconds: float = 0.0
    raised: str | None = None  # the class of the exception that ended it, if any
    error: BaseException | None = None  # the exception itself, in this process
    ahead: int = 0  # of how many steps, from the first on, every operation was recorded ahead
    watched: bool = False  # whether it was ended while its operations were recorded ahead, which may be why
    stopped: bool = False  # whether it was ended after the segment that was asked for
    is_thin: bool = True  # whether what it returned says little: nothing, a truth value, a whole number, a text
    children_share: float = 0.0  # what part of the processor time child processes took, 0 to 1
    own_seed: int | None = None  # that the code gave torch itself, if it did
    seeded_at: str = ""  # the line that did, if it is known
    carried: Mapping[str, str] = field(default_factory=dict)  # fingerprints of what it found when it began, by name
    cut: Sequence[str] = ()  # why its process ended before it did, and the last lines that it had written
    varied: str = ""  # what was varied that must not matter


Runner: TypeAlias = Callable[[int, Plan, Callable[[int], None]], Done]
"""Runs one repetition, in this process or in one of its own, and tells how many steps it has made.

Repetitions are counted from 0: one number, one set of conditions."""


# What is run again and again: a function with its arguments; a script is in `scripts`.


@dataclass(frozen=True)
class FunctionTask:
    """A function and its arguments. A coroutine function is run by `asyncio.run`, a generator to its end."""

    way_out: ClassVar[str] = 'To go on with a warning: verify(..., control=reproducible(deterministic="warn")).'

    function: Callable[..., Any]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return getattr(self.function, "__qualname__", None) or type(self.function).__qualname__

    def run(self) -> Any:
        """Call it; what a generator yields counts as returned."""
        result = self.function(*self.args, **self.kwargs)
        if inspect.iscoroutine(result):
            import asyncio  # here, because the process that compares needs it for nothing else

            return asyncio.run(result)
        return list(result) if inspect.isgenerator(result) else result

    def carried(self) -> Mapping[str, str]:
        """Return fingerprints of its arguments, of what it is bound to, and of what its code names outside of it."""
        function: Any = self.function
        args, kwargs = self.args, self.kwargs
        while isinstance(function, partial):
            function, args, kwargs = function.func, (*function.args, *args), {**function.keywords, **kwargs}
        things = {f"argument {name}": value for name, value in [*enumerate(args), *kwargs.items()]}
        owner = getattr(function, "__self__", None)
        function = inspect.unwrap(getattr(function, "__func__", function))
        if not inspect.isfunction(function):
            owner, function = function, inspect.getattr_static(type(function), "__call__", None)
        if owner is not None:
            things |= {"self": owner, f"variable {type(owner).__name__}": type(owner)}
        names = _names_in(function.__code__) if inspect.isfunction(function) else set()
        parts = _spread(things | (_variables(function, names) if names else {}), names)
        return {name: digest for name, value in parts.items() if (digest := _digest(value)) is not None}


def _names_in(code: CodeType) -> set[str]:
    """Return what code names that is not its own, with the functions that it defines."""
    inner = [_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names, *code.co_freevars}.union(*inner)


def _variables(function: Any, names: set[str]) -> dict[str, Any]:
    """Return the variables outside of a function that have one of these names."""
    values = {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable that has no value yet
            values[name] = cell.cell_contents
    return {f"variable {name}": value for name, value in values.items()}


def _spread(things: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Return things that have a fingerprint, and of the others what is in them; no getter of a property is run.

    Of what holds code (a module, a class, a function), and much else, that alone which is among `names`.
    """
    from ..values.kinds import takers

    spread: dict[str, Any] = {}
    for name, thing in things.items():
        if takers(type(thing))[0]:
            spread[name] = thing
            continue
        if type(thing).__module__.startswith("torch.distributed."):
            continue  # a mesh of processes: it holds no values, and remembers what it was asked for
        is_code = inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isroutine(thing)
        parts = getattr(thing, "__dict__", {})
        spread |= {f"{name}.{part}": value for part, value in parts.items() if part in names or not is_code}
    return spread


def _digest(value: Any) -> str | None:
    from ..values.fingerprint import fingerprint

    try:
        return fingerprint(value, full=False)
    except Exception:  # noqa: BLE001 - whatever a state_dict of the user's raises, the run is what matters
        return None
