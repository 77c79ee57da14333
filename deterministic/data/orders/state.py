"""A loader's state: what it says, and what must agree before it is taken."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ...errors import ResumeMismatchError, cut, explain
from ...ground.arguments import as_integer
from ..samples.keying import LoaderSeed
from .position import Epochs, Order, Position

_VERSION = 1

_NAMES = {
    "seed": "seed",
    "order": "order or sampler",
    "length": "length of the dataset",
    "batch": "batch_size",
    "drop_last": "drop_last",
    "num_workers": "num_workers",
    "persistent_workers": "persistent_workers",
    "rank": "rank",
    "world_size": "world_size",
}
_OMITTED = {"drop_last": False, "persistent_workers": False}
"""What a missing entry means: orders leave it out, to stay small."""


def save(order: Order, seed: LoaderSeed, epochs: Epochs) -> dict[str, Any]:
    """Return the state of a loader."""
    progress = epochs.unfinished
    if progress is None and epochs.next.state is not None:
        return copy.deepcopy(dict(epochs.next.state))  # loaded, and not begun
    return {
        "v": _VERSION,
        "seed": None if seed.is_drawn_later else seed.value,
        "epoch": epochs.next.epoch if progress is None else progress.start.epoch,
        **order.identity(),
        **copy.deepcopy(order.state(progress)),
    }


def load(state: object, order: Order, seed: LoaderSeed) -> Position:
    """Return the position that a state stands for.

    Raises:
        ResumeMismatchError: It is none, or of another loader; every difference is named with both values.
    """
    if not isinstance(state, Mapping) or state.get("v") != _VERSION:
        raise ResumeMismatchError(
            explain(
                "this is no state of a loader that this version can read",
                (f"found: {_outline(state)}", f"expected: a dict with 'v': {_VERSION}"),
                "Pass what the loader's state_dict() returned.",
            )
        )
    here = order.identity()
    if not seed.is_drawn_later:
        here["seed"] = seed.value
    differences = [
        f"{_NAMES[name]}: saved {cut(saved)}, here {cut(value)}"
        for name, value in here.items()
        if (saved := state.get(name, _OMITTED.get(name))) != value
    ]
    differences += [
        f"{_NAMES[name]}: saved {cut(state[name])}, here {cut(default)}"
        for name, default in _OMITTED.items()
        if name not in here and state.get(name, default) != default
    ]
    if differences:
        raise ResumeMismatchError(
            explain(
                "the state was saved by another loader",
                tuple(sorted(differences)),
                "Make the loader as it was when the state was saved; nothing was changed.",
            )
        )
    state = copy.deepcopy(dict(state))  # what becomes of the caller's afterwards is their business
    counts = {name: as_integer(state.get(name)) for name in ("epoch", "done")}
    wrong = [name for name, count in counts.items() if count is None or count < 0]
    wrong += [name for name, kind in order.fields.items() if name not in state or not isinstance(state[name], kind)]
    if wrong:
        raise ResumeMismatchError(
            explain(
                "the state says no place in the data",
                tuple(f"{name}: {cut(state.get(name, 'missing'))}" for name in wrong),
                "Pass what the loader's state_dict() returned; nothing was changed.",
            )
        )
    position = order.position(state)
    if seed.is_drawn_later and state["seed"] is not None:
        seed.adopt(state["seed"])
    return position


def _outline(state: object) -> str:
    return f"a dict with 'v': {cut(state.get('v'))}" if isinstance(state, Mapping) else type(state).__name__
