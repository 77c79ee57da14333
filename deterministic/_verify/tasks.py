"""What is run again and again: a function with its arguments; a script is in `scripts`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..trace.fingerprint import fingerprint


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
        """Return fingerprints of its arguments, and of the variables outside of it that its code names."""
        found: dict[str, Any] = {f"argument {index}": value for index, value in enumerate(self.args)}
        found |= {f"argument {name}": value for name, value in self.kwargs.items()}
        function = inspect.unwrap(self.function)
        function = getattr(function, "__func__", function)
        if inspect.isfunction(function):
            found |= _captured(function)
        return {name: digest for name, value in found.items() if (digest := _digest(value)) is not None}


def _captured(function: Any) -> dict[str, Any]:
    names = {*function.__code__.co_names, *function.__code__.co_freevars}
    variables = inspect.getclosurevars(function)
    return {
        f"variable {name}": value
        for name, value in {**variables.globals, **variables.nonlocals}.items()
        if name in names and not (inspect.ismodule(value) or inspect.isclass(value) or callable(value))
    } | {
        f"variable {name}": value
        for name, value in {**variables.globals, **variables.nonlocals}.items()
        if hasattr(value, "state_dict") and not inspect.isclass(value)
    }


def _digest(value: Any) -> str | None:
    try:
        return fingerprint(value)
    except (TypeError, ValueError, RecursionError):
        return None
