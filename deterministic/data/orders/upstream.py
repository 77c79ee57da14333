"""The user's IterableDataset in one process, over all its passes: where it is, and how it is put there."""

from __future__ import annotations

import copy
import gc
import inspect
import operator
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from ...errors import DeterministicError, NondeterminismWarning, ResumeMismatchError, cut, warn
from ...sources.own_generators import KINDS, OwnGenerator
from ...values.leaves import leaves, light_copy, long_ones, merged
from ...values.stateful import is_stateful
from ..samples.dataset_epoch import DatasetEpoch
from ..samples.generators import shown_in
from .base import mismatch

_DEPTH = 5
_OPAQUE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, torch.Tensor, np.ndarray)


class Place(NamedTuple):
    """How far one worker has come in its part of a stream."""

    fetched: int  # how many samples it has made in this epoch; 0: it is between two
    ended: bool  # whether it has given all; between two epochs: whether the one before gave any
    # Pickled: what `state_dict()` of the dataset and of its iterator say, None for the one that has none, and what the
    # dataset shows that has changed since it was made.
    state: bytes

    def said(self) -> tuple[Any, Any, dict[str, Any]]:
        """Return what it says of the dataset, of its iterator, and of what has changed."""
        of_dataset, of_iterator, *changed = pickle.loads(self.state) if self.state else (None, None)
        return of_dataset, of_iterator, changed[0] if changed else {}


HERE = Place(0, False, b"")
"""Where the stream is, whatever it says. It is this object alone: one that is equal is the next."""
BEGINNING = Place(0, False, pickle.dumps((None, None)))
"""Where a stream is of which a state between two epochs says nothing."""


class Upstream:
    """The user's stream, whose `state_dict()` is asked where it is if the loader `uses_state`.

    Generators that it holds and that are keyed (`is_keyed`) say nothing of the pass.
    """

    def __init__(self, dataset: Any, *, uses_state: bool, is_keyed: bool = False) -> None:
        self.dataset = dataset
        self.uses_state = uses_state
        self.can_seek = uses_state and is_stateful(dataset)  # whether it says where it is and can be put there
        self.has_given = False  # whether its latest pass that ended gave any sample
        self._is_keyed = is_keyed
        self._before: dict[str, Any] = {}  # the iterators that it held before the latest pass
        self._renewed: set[str] = set()  # where that pass began with another one
        # What is told its epoch need not remember it, and may count whatever it likes.
        self._as_made = {} if self.can_seek or DatasetEpoch(dataset).listeners else self._shown()
        self._put: _Put | None = None
        self._has_begun = False
        self.may_hide_draws = self.can_seek and may_hide_draws(dataset)
        self.hides_draws = False  # whether it does, and its pass drew
        self._may_race = may_race(dataset)

    def look_for_draws(self, has_drawn: Callable[[], bool]) -> None:
        """Look whether what may hide draws, or make them race, did draw for the first sample of its pass."""
        if not (self._may_race or (self.may_hide_draws and not self.hides_draws)) or not has_drawn():
            return
        self.hides_draws = self.may_hide_draws
        if self._may_race:
            self._may_race = False
            warn(
                NondeterminismWarning,
                "a stream is read ahead on several threads, which may draw for its rows: who is slower then decides "
                "which row has which numbers",
                (f"found: {type(self.dataset).__name__} with interleave_datasets or shuffle(buffer_size=...)",),
                "Draw afterwards: interleave_datasets(...).shuffle(...).map(augment), not the other way round.",
            )

    def copy(self) -> Upstream:
        """Return one whose passes do not move this one; raise DeterministicError if the dataset cannot be copied."""
        try:
            return copy.deepcopy(self)
        except Exception as error:
            raise DeterministicError(
                "the stream cannot be looked at without moving it: it cannot be copied",
                (f"found: {type(self.dataset).__name__}", f"copying it: {type(error).__name__}: {cut(str(error))}"),
                "Use num_workers=1 or more, whose processes have copies, or give the dataset a __deepcopy__.",
            ) from error

    def put(self, place: Place) -> None:
        """Put the dataset at a place; what it said before is kept for `begins_wrongly`."""
        of_dataset, *_ = place.said()
        if of_dataset is None or not self.can_seek:
            return
        said = self._said()
        if place.fetched or leaves(said) != leaves([of_dataset]):  # where it is there, loading may do more than put it
            self._put = _Put(said, said)
            self.dataset.load_state_dict(copy.deepcopy(of_dataset))

    def begin(self, place: Place, start: Callable[[], None]) -> Any:
        """Begin a pass at a place, and return its iterator; call `start` once what the place says is loaded."""
        of_dataset, of_iterator, changed = place.said()
        if place is not HERE and self._as_made:
            self._require_shown(changed)
        if self._put is not None:
            self._put.now = self._said()
        is_within = place.fetched > 0
        # One that is its own iterator may have nothing to be put at before __iter__().
        with suppress(Exception) if is_within and hasattr(self.dataset, "__next__") else nullcontext():
            self.put(place)
        start()
        self._before = dict(self._iterators()) if self._as_made else {}
        self._has_begun = True
        iterator: Any = iter(self.dataset)
        if is_within and iterator is self.dataset and leaves(self._said()) != leaves([of_dataset]):
            self.put(place)  # it has begun anew in __iter__(); others take there what was loaded before
        if of_iterator is not None and self.uses_state:
            if not is_stateful(iterator):
                raise mismatch(
                    "the state says where the dataset's iterator was, and this one cannot be put there",
                    "with a state_dict()",
                    f"{type(iterator).__name__} without load_state_dict()",
                    "Resume with the dataset that the state was saved with.",
                )
            iterator.load_state_dict(of_iterator)
        return iterator

    def begins_wrongly(self, place: Place, *, gave: bool) -> bool:
        """Return whether a pass at `place` began at one that was meant for another pass; put the dataset back then.

        What a dataset says after a pass may mean "at the end", and would make the next one empty, where one that was
        not interrupted begins anew. And some keep a place that was loaded for every pass that follows. What a sample
        moves gives them away: after the first one of a pass (if it `gave` one) it is where it was after the first one
        of the pass that was put there. That part of what the dataset says is put back to what it was before; where it
        did not say where it was before, it cannot be, which a ResumeMismatchError says.
        """
        if self._before:
            now = dict(self._iterators())
            self._renewed = {path for path, one in self._before.items() if now.get(path) is not one}
            self._before = {}
        put, (loaded, *_) = self._put, place.said()
        if put is None:
            return False
        said_now = self._said()
        current, long = leaves(said_now), long_ones(said_now)
        if loaded is not None and (gave or place.fetched or not place.ended):
            # The passes after it are watched, but for one that began between two: where it did, the next one may.
            said = leaves([loaded])
            put.gave, put.first = gave, current
            put.moving = {path for path, value in current.items() if gave and said.get(path) != value}
            self._put = put if place.fetched else None
            return False
        self._put = None
        places = put.moving - long
        stays = bool(places) and all(put.first[path] == current.get(path) for path in places)
        if loaded is None and (gave != put.gave or (gave and not stays)):
            return False
        if not put.before:
            raise ResumeMismatchError(
                "a place that was loaded is where another epoch begins, too, and cannot be taken back",
                (f"found: {type(self.dataset).__name__}, which did not say where it was before",),
                'Pass stream_state="ignore", or let its __iter__() use a loaded place once, begin anew after its '
                "end, and state_dict() work before the first pass.",
            )
        back = put.before
        if gave:  # what counts passes is as it is now, a long one (a generator's state) as it was before this pass
            back = merged(merged(said_now, put.before, places), put.now, put.moving & long)
        else:
            _warn_of_more(self.dataset, leaves(put.before), current)
        self.dataset.load_state_dict(back[0])
        return True

    def place(self, iterator: Any, fetched: int, *, ended: bool) -> Place | None:
        """Return where it is after the samples made so far; None if it cannot say."""
        of_dataset = self.dataset.state_dict() if self.can_seek else None
        has_own = self.uses_state and iterator is not self.dataset and is_stateful(iterator)
        of_iterator = iterator.state_dict() if has_own else None
        if of_dataset is None and of_iterator is None:
            return None
        return Place(fetched, ended, pickle.dumps((of_dataset, of_iterator, {})))

    def between(self) -> Place | None:
        """Return where it is between two passes; None if there is nothing to say."""
        now = self._shown() if self._as_made else {}
        changed = {name: now[name] for name, value in self._as_made.items() if now.get(name, value) != value}
        of_dataset = next(iter(self._said()), None)
        if of_dataset is None and not changed:
            return None
        return Place(0, self.has_given, pickle.dumps((of_dataset, None, changed)))

    def _shown(self) -> dict[str, Any]:
        """Return what may tell one pass from the next, by path.

        That is numbers, a digest of each generator's state, and how far iterators have come with which no pass begins.
        """
        shown: dict[str, Any] = {}
        for path, one in shown_in(self.dataset, _DEPTH, _OPAQUE):
            if isinstance(one, (int, float)):
                shown[path] = one
            elif not isinstance(one, KINDS):
                if path not in self._renewed:
                    shown[path] = _how_far(one)
            elif not self._is_keyed:
                source = OwnGenerator(one, 0)
                shown[path] = source.describe(source.capture())["digest"]
        return shown

    def _iterators(self) -> Iterator[tuple[str, Any]]:
        """Yield the iterators of Python's own that it holds, with their paths."""
        for path, one in shown_in(self.dataset, _DEPTH, _OPAQUE):
            if not isinstance(one, (int, float, *KINDS)):
                yield path, one

    def _said(self) -> list[Any]:
        """Return what the dataset says of itself in a list, which is empty if it does not.

        Before its first pass it may not have what it speaks of, and torchdata's nodes begin a pass when they are asked:
        a copy is asked then.
        """
        with suppress(Exception):
            if self.can_seek:
                asked = self.dataset if self._has_begun else light_copy(self.dataset)
                return [copy.deepcopy(asked.state_dict())]
        return []

    def _require_shown(self, changed: dict[str, Any]) -> None:
        """Refuse to begin a pass with a dataset that remembers other passes than the saved one did."""
        current = self._shown()
        differences = [
            f"{name}: saved {cut(value)}, here {cut(current[name])}"
            for name, value in {**self._as_made, **changed}.items()
            if current.get(name, value) != value
        ]
        if differences:
            raise ResumeMismatchError(
                "the dataset is not as it was when this epoch began",
                tuple(differences),
                "Give it state_dict() and load_state_dict(), or a set_epoch() that decides its order, or make it "
                "as it was before iterating; or call the loader's set_epoch() to begin at another epoch.",
            )


@dataclass
class _Put:
    """A place that was loaded, until a pass began elsewhere."""

    before: list[Any]  # what the dataset said before, in a list, which is empty if it did not
    now: list[Any]  # what it said before the latest pass, the same way
    gave: bool = False  # whether the pass that began there gave a sample
    first: Mapping[tuple[str, ...], bytes] = field(default_factory=dict)  # what it said after that, value by value
    moving: set[tuple[str, ...]] = field(default_factory=set)  # which of it that sample had moved


def _warn_of_more(dataset: object, before: Mapping[Any, bytes], current: Mapping[Any, bytes]) -> None:
    """Warn where a dataset that is put back says more than a place: what of it must stay cannot be told."""
    more = sorted("".join(f"[{key}]" for key in path[1:]) for path in current if before.get(path) != current[path])
    if len(more) > 1:
        warn(
            NondeterminismWarning,
            "what a stream says between two epochs makes the next one empty, so it begins as it was made",
            (f"found: {type(dataset).__name__}, whose state differs there in {cut(', '.join(more))}",),
            "Let its __iter__() begin anew once it is at its end, if it counts its passes.",
        )


def _how_far(iterator: Any, depth: int = _DEPTH) -> str:
    """Return how far one of Python's own iterators has come, with those that it goes over, as far as Python shows it.

    Of most it shows how many are left, and of a generator whether it was begun.
    """
    shown = []
    if isinstance(iterator, GeneratorType):
        shown.append(inspect.getgeneratorstate(iterator).removeprefix("GEN_").lower())
    elif isinstance(iterator, count):
        shown.append(repr(iterator))
    else:
        with suppress(Exception):  # it may ask the length of what is somebody's own
            left = operator.length_hint(iterator, -1)
            shown += [f"{left} left"] * (left >= 0)
    inner = [one for one in gc.get_referents(iterator) if depth and type(one) is not type]
    inner = [each for one in inner for each in (one if type(one) is tuple else (one,))]  # as zip and map hold them
    shown += [_how_far(one, depth - 1) for one in inner if hasattr(type(one), "__next__")]
    return f"{type(iterator).__name__}({', '.join(shown)})"


def has_buffer(dataset: Any) -> bool:
    """Return whether it is one of Hugging Face's that shuffles through a buffer, which its state leaves out.

    So its own documentation of `IterableDataset.state_dict` says (datasets 5.2); the buffer is a link of a chain.
    """
    return any(getattr(part, "buffer_size", None) for part in _chain(dataset))


def may_hide_draws(dataset: Any) -> bool:
    """Return whether it is one of Hugging Face's that makes samples again on the way to a place, with other draws.

    Of a generator function those before it in its shard; of what maps, filters or batches several at once those of the
    same batch.
    """
    parts = list(_chain(dataset))
    return any(getattr(one, "batched", False) is True or hasattr(one, "generate_examples_fn") for one in parts)


def may_race(dataset: Any) -> bool:
    """Return whether it is one of Hugging Face's that reads streams or shards ahead, each on a thread of its own.

    Those that are interleaved, and those that fill a shuffle buffer (datasets 5.2); the functions that make their rows
    may draw.
    """
    return any(
        (hasattr(one, "stopping_strategy") or hasattr(one, "max_input_shards"))
        and any(hasattr(below, "function") or hasattr(below, "generate_examples_fn") for below in _links(one))
        for one in _chain(dataset)
    )


def _chain(dataset: Any) -> Iterator[Any]:
    """Return the links of a dataset of Hugging Face's; of any other one there is none."""
    return _links(getattr(dataset, "_ex_iterable", None))


def _links(last: Any) -> Iterator[Any]:
    """Yield a link, what it iterates, and what that does, to the end of each chain."""
    parts = [last]
    while parts:
        if (part := parts.pop()) is not None:
            yield part
            several = getattr(part, "ex_iterables", None)
            parts += [getattr(part, "ex_iterable", None), *(several if isinstance(several, (list, tuple)) else ())]
