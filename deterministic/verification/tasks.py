"""What is run again and again: a function with its arguments; a script is in `scripts`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import CodeType
from typing import Any, Protocol

from ..values.encodings import encoders_for
from ..values.fingerprint import fingerprint


class Task(Protocol):
    """Something that can be run from its beginning any number of times."""

    @property
    def title(self) -> str:
        """What it is called."""

    def run(self) -> Any:
        """Run it, and return what it returns."""

    def carried(self) -> Mapping[str, str]:
        """Return fingerprints of what it will find when it begins, by name, as far as there are any."""


@dataclass(frozen=True)
class FunctionTask:
    """A function and its arguments. A coroutine function is run by `asyncio.run`, a generator to its end."""

    function: Callable[..., Any]
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", None) or type(self.function).__qualname__

    def run(self) -> Any:
        """Call it; what a generator yields counts as returned."""
        result = self.function(*self.args, **self.kwargs)
        if inspect.iscoroutine(result):
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
        found = _spread(things | (_variables(function, names) if names else {}), names)
        return {name: digest for name, value in found.items() if (digest := _digest(value)) is not None}


def _names_in(code: CodeType) -> set[str]:
    """Return what code names that is not its own, with the functions that it defines."""
    inner = [_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names, *code.co_freevars}.union(*inner)


def _variables(function: Any, names: set[str]) -> dict[str, Any]:
    """Return the variables outside of a function that have one of these names."""
    found = {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable that has no value yet
            found[name] = cell.cell_contents
    return {f"variable {name}": value for name, value in found.items()}


def _spread(things: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Return things that have a fingerprint, and of the others what is in them; no getter of a property is run.

    Of what holds code (a module, a class, a function), and much else, that alone which is among `names`.
    """
    found: dict[str, Any] = {}
    for name, thing in things.items():
        if encoders_for(type(thing)):
            found[name] = thing
            continue
        is_code = inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isroutine(thing)
        parts = getattr(thing, "__dict__", {})
        found |= {f"{name}.{part}": value for part, value in parts.items() if part in names or not is_code}
    return found


def _digest(value: Any) -> str | None:
    try:
        return fingerprint(value)
    except Exception:  # noqa: BLE001 - whatever a state_dict of the user's raises, the run is what matters
        return None
