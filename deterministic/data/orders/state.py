"""What is told of a loader: its state, with what must agree before it is taken, and its line in the report."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import ResumeMismatchError, cut
from ...ground.arguments import as_integer
from ..samples.keys import Keying
from .base import Count, Epochs, Order, Position

_VERSION = 2  # 1 had another shuffled order, and samples drew other numbers

_NAMES = {"order": "order or sampler", "length": "length of the dataset", "batch": "batch_size"}
"""What entries are called in errors, where they have not the name of an argument."""
_OMITTED = {"drop_last": False, "persistent_workers": False}
"""What a missing entry means: orders leave it out, to stay small."""

_OPEN = 4  # how many of the latest epochs may still move: iterators that are used at the same time
_MOST = 100  # how many entries of epochs the report keeps, the latest ones


def save(order: Order, epochs: Epochs) -> dict[str, Any]:
    """Return the state of a loader."""
    progress = epochs.unfinished
    if epochs.next.state is not None and (progress is None or progress.start is epochs.next):
        return copy.deepcopy(dict(epochs.next.state))  # loaded, and not begun
    return {
        "v": _VERSION,
        "seed": order.keying.given_seed,
        "epoch": epochs.next.epoch if progress is None else progress.start.epoch,
        **order.identity(),
        **copy.deepcopy(order.state(progress)),
    }


def load(state: object, order: Order) -> Position:
    """Return the position that a state stands for; of another loader's every difference is named with both values."""
    if isinstance(state, Mapping) and state.get("v") == 1 and "epoch" in state:
        raise ResumeMismatchError(
            "the loader's state is of an earlier version of this library, whose samples drew other numbers and "
            "came in another order",
            ("saved with: 'v': 1", f"this version: 'v': {_VERSION}"),
            "Finish this training with the version that it was begun with, or begin it anew; nothing was changed.",
        )
    if not isinstance(state, Mapping) or state.get("v") != _VERSION:
        actual = f"a dict with 'v': {cut(state.get('v'))}" if isinstance(state, Mapping) else type(state).__name__
        raise ResumeMismatchError(
            "this version cannot read this as the state of a loader",
            (f"found: {actual}", f"expected: a dict with 'v': {_VERSION}"),
            "Pass what the loader's state_dict() returned.",
        )
    keying = order.keying
    current = {**_OMITTED, **order.identity()}
    if keying.given_seed is not None:
        current["seed"] = keying.given_seed
    differences = [
        f"{_NAMES.get(name, name)}: saved {cut(saved)}, here {cut(value)}"
        for name, value in current.items()
        if (saved := state.get(name, _OMITTED.get(name))) != value
    ]
    if differences:
        raise ResumeMismatchError(
            "the state was saved by another loader",
            tuple(sorted(differences)),
            "Make the loader as it was when the state was saved; nothing was changed.",
        )
    state = copy.deepcopy(dict(state))  # what becomes of the caller's afterwards is their business
    counts = {name: as_integer(state.get(name)) for name in ("epoch", "done")}
    wrong = [name for name, count in counts.items() if count is None or count < 0]
    wrong += [name for name, kind in order.fields.items() if name not in state or not isinstance(state[name], kind)]
    if wrong:
        raise ResumeMismatchError(
            "the state holds no place in the data",
            tuple(f"{name}: {cut(state.get(name, 'missing'))}" for name in wrong),
            "Pass what the loader's state_dict() returned; nothing was changed.",
        )
    position = order.position(state)
    if keying.given_seed is None:
        keying.given_seed = state["seed"]
    return position


class LoaderRecord:
    """A loader's line in the report. It outlives the loader, keeps none of its data alive, and stays small.

    `notes` say what is not independent of the accidental, one sentence each.
    """

    def __init__(self, made_at: str, keying: Keying, notes: list[str], **facts: Any) -> None:
        self.made_at = made_at
        self._keying = keying
        self._notes = notes
        self._facts = facts
        self._closed: list[dict[str, Any]] = []
        self._open: list[Count] = []

    def begin(self, count: Count) -> None:
        self._open.append(count)
        if len(self._open) > _OPEN:
            self._closed = _grouped(self._closed, [self._open.pop(0)])

    @property
    def under_way(self) -> int:
        """How many batches the latest epoch has given; 0 once it has ended."""
        return 0 if self.has_ended or not self._open else self._open[-1].batches

    @property
    def has_ended(self) -> bool:
        """Whether the latest epoch was gone through."""
        return bool(self._open) and self._open[-1].ended

    def describe(self) -> dict[str, Any]:
        """Return the record as JSON; neighbouring epochs that went alike are one entry."""
        return {
            "made_at": self.made_at,
            "seed": self._keying.given_seed,
            "randomness": self._keying.randomness,
            **self._facts,
            "epochs": _grouped(self._closed, self._open),
            "notes": self._notes,
        }


def _grouped(groups: list[dict[str, Any]], epochs: Iterable[Count]) -> list[dict[str, Any]]:
    groups = [dict(group) for group in groups]
    for count in epochs:
        alike = {"resumed": count.resumed, "batches": count.batches, "ended": count.ended}
        latest = groups[-1] if groups and groups[-1].items() >= alike.items() else None
        if latest is not None and latest["last"] + 1 == count.epoch and latest["times"] == 1:
            latest["last"] = count.epoch
        elif latest is not None and latest["first"] == latest["last"] == count.epoch:
            latest["times"] += 1
        else:
            groups.append({"first": count.epoch, "last": count.epoch, "times": 1, **alike})
    return groups[-_MOST:]
