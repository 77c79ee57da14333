"""The arguments of the public functions, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._seeds import as_integer
from ..errors import explain
from .stateful import is_stateful


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError if an argument is none of its choices."""
    if value not in choices:
        raise ValueError(
            explain(
                f"{name}= is none of its choices", (f"found: {value!r}", f"expected: {choices}"), "Pass one of them."
            )
        )


def counts(**given: Any) -> list[int | None]:
    """Return arguments that are numbers from 1 on, or None; raise ValueError for any other."""
    for name, value in given.items():
        if value is not None and (as_integer(value) is None or value < 1):
            raise ValueError(out_of_range(name, value, "1, 2, 3, ... or None"))
    return [None if value is None else as_integer(value) for value in given.values()]


def require_stateful(stateful: Mapping[str, Any]) -> None:
    """Raise TypeError if one of the objects has no state."""
    for name, value in stateful.items():
        if not is_stateful(value):
            raise TypeError(
                explain(
                    f"{name}= has no state_dict() and load_state_dict()",
                    (f"found: {type(value).__name__}",),
                    f"Put a plain value into values[{name!r}]; make a DataLoader with make_loader; pass generators to "
                    "reproducible(generators=[...]).",
                )
            )


def out_of_range(name: str, value: object, expected: str) -> str:
    """Return the text of the error for a number that is none of those expected."""
    return explain(f"{name}= is out of range", (f"found: {value!r}", f"expected: {expected}"), "Pass such a number.")
