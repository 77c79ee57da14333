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
    """Return the value of the argument `name` as an int, also one of numpy's; a bool is no number.

    A TypeError says that it is none, a ValueError that it is below `least`; with `what`, which says what any other
    value is, both are ValueErrors. The `remedy` is what to do, where that is more than to pass another number.
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
    """Return the value of the argument `name`, a bool or a string, if it is one of those allowed; 1 is not True.

    Else raise an `error` that says `what` it is; of a mapping it has a sentence of what each choice means, too.
    """
    if isinstance(value, (bool, str)) and value in allowed:
        return cast(T, value)
    listed: tuple[str, ...] = (f"expected: {', '.join(map(repr, allowed))}",)
    if isinstance(allowed, Mapping):
        listed = tuple(f"{one!r}: {meaning}" for one, meaning in allowed.items())
    raise error(explain(f"{name}= is {what}", (f"found: {cut(value)}", *listed), "Pass one of them."))
