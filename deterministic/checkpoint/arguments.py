"""The arguments of the public functions, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from ..errors import NondeterminismWarning, cut, explain, warn
from ..ground.arguments import as_integer
from ..trace.recording.operations import tensors_in
from ..trace.recording.torch_internals import storage_key
from .stateful import is_stateful, state_of


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError if an argument is none of its choices."""
    if value not in choices:
        raise ValueError(
            explain(
                f"{name}= is none of its choices", (f"found: {cut(value)}", f"expected: {choices}"), "Pass one of them."
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


def warn_of_parameters(stateful: Mapping[str, Any]) -> None:
    """Warn of parameters that an optimizer has and no object saves."""
    others = [value for value in stateful.values() if not isinstance(value, torch.optim.Optimizer)]
    saved = {storage_key(tensor) for value in others for tensor in tensors_in(state_of(value))}
    for name, optimizer in stateful.items():
        if not isinstance(optimizer, torch.optim.Optimizer):
            continue
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        count = sum(not is_lazy(parameter) and storage_key(parameter) not in saved for parameter in parameters)
        if count:
            warn(
                NondeterminismWarning,
                explain(
                    f"{name} has parameters that are not saved",
                    (f"found: {count} of {len(parameters)} are in none of the objects that were passed",),
                    "Pass the module that has them, too.",
                ),
            )


def out_of_range(name: str, value: object, expected: str) -> str:
    """Return the text of the error for a number that is none of those expected."""
    return explain(f"{name}= is out of range", (f"found: {cut(value)}", f"expected: {expected}"), "Pass such a number.")
