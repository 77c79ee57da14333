"""What arguments may be, and what is said of one that is wrong: every check of a number, a choice or a bool."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from typing import SupportsIndex, TypeVar, cast

from ..errors import cut, explain, type_error, value_error

T = TypeVar("T", bound="bool | str")


def as_integer(value: object) -> int | None:
    """Return `value` as an int if it is an integer, also one of numpy's; None for anything else, bools too."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(cast(SupportsIndex, value))
    except TypeError:
        return None


def count(name: str, value: object, *, least: int = 0, what: str = "", remedy: str | None = None) -> int:
    """Return the value of the argument `name` as an int of at least `least`.

    Args:
        name: What the caller calls it.
        value: An int or anything with `__index__` (numpy integers); a bool is no number.
        least: The smallest that has a meaning.
        what: What any other value is; one of a wrong type is then a ValueError, too.
        remedy: What to do, where that is more than to pass another number.

    Raises:
        TypeError: Not an integer.
        ValueError: Below `least`.
    """
    number = as_integer(value)
    if number is not None and number >= least:
        return number
    differs, actual = "is not an integer", f"found: {cut(value)} ({type(value).__name__})"
    if number is not None:
        differs, actual = f"is below {least}" if least else "is negative", f"found: {cut(number)}"
    error = type_error if number is None and not what else value_error
    raise error(
        f"{name} {what or differs}",
        (actual, f"expected: an int, {least} or more"),
        remedy or f"Pass a number, for example {name}={max(least, 1)}.",
    )


def boolean(name: str, value: object, *, remedy: str | None = None) -> bool:
    """Return the value of the argument `name` if it is True or False; raise a TypeError if it is neither."""
    if isinstance(value, bool):
        return value
    values = (f"found: {cut(value)}", "expected: True or False")
    raise type_error(f"{name} is not a bool", values, remedy or f"Pass {name}=True or {name}=False.")


def choice(
    name: str,
    value: object,
    allowed: Collection[T],
    *,
    what: str = "not one of its choices",
    error: type[Exception] = ValueError,
) -> T:
    """Return the value of the argument `name`, which is one of those allowed.

    Args:
        name: What the caller calls it.
        value: A bool or a string; 1 is not True.
        allowed: The choices; in a mapping each has a sentence of what it means.
        what: What any other value is.
        error: What is raised of it.

    Raises:
        ValueError: It is none of them; or `error`.
    """
    if isinstance(value, (bool, str)) and value in allowed:
        return cast(T, value)
    listed: tuple[str, ...] = (f"expected: {', '.join(map(repr, allowed))}",)
    if isinstance(allowed, Mapping):
        listed = tuple(f"{one!r}: {meaning}" for one, meaning in allowed.items())
    raise error(explain(f"{name}= is {what}", (f"found: {cut(value)}", *listed), "Pass one of them."))
