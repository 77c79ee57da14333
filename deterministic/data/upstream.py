"""The user's IterableDataset in one process, over all its passes: where it is, and how it is put there."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from typing import Any, NamedTuple

from ..errors import DeterministicError, ResumeMismatchError, cut, explain
from .dataset_epoch import DatasetEpoch, takes
from .shown import shown


class Place(NamedTuple):
    """How far one worker has come in its part of a stream.

    Attributes:
        fetched: How many samples it has made in this epoch; 0: it is between two.
        ended: Whether it has given all; between two epochs: whether the one before gave any.
        state: Pickled: what `state_dict()` of the dataset and of its iterator say, None for the one that has none, and
            what the dataset shows that has changed since it was made.
    """

    fetched: int
    ended: bool
    state: bytes


BEGINNING = Place(0, False, b"")
"""Where a stream is of which a state between two epochs says nothing."""


class Upstream:
    """The user's stream.

    Args:
        dataset: Theirs.
        uses_state: Whether its `state_dict()` is asked where it is.

    Attributes:
        can_seek: Whether it says where it is and can be put there.
        has_given: Whether its latest pass that ended gave any sample.
    """

    def __init__(self, dataset: Any, *, uses_state: bool) -> None:
        self.dataset = dataset
        self.uses_state = uses_state
        self.can_seek = uses_state and can_seek(dataset)
        self.has_given = False
        # What is told its epoch need not remember it, and may count whatever it likes.
        self._as_made = {} if self.can_seek or DatasetEpoch(dataset).listeners else shown(dataset)
        self._before: list[Any] | None = None  # what it said before a place was loaded, until a pass began elsewhere
        self._first: bytes | None = None  # what it said after the first sample of the pass that began at that place

    def copy(self) -> Upstream:
        """Return one whose passes do not move this one.

        Raises:
            DeterministicError: The dataset cannot be copied.
        """
        try:
            return copy.deepcopy(self)
        except Exception as error:
            raise DeterministicError(
                explain(
                    "the stream cannot be looked at without moving it: it cannot be copied",
                    (f"found: {type(self.dataset).__name__}", f"copying it: {type(error).__name__}: {cut(str(error))}"),
                    "Use num_workers=1 or more, whose processes have copies, or give the dataset a __deepcopy__.",
                )
            ) from error

    def put(self, place: Place | None) -> None:
        """Put the dataset at a place; what it said there is kept for `begins_where_it_was_put`."""
        of_dataset = stated(place)[0]
        if of_dataset is not None and self.can_seek:
            self._before, self._first = self._said(), None
            self.dataset.load_state_dict(copy.deepcopy(of_dataset))

    def begin(self, place: Place | None) -> Any:
        """Begin a pass at a place (None: where the dataset is), and return its iterator."""
        of_iterator = stated(place)[1]
        if place is not None and self._as_made:
            self._require_shown(stated(place)[2])
        # One that is its own iterator may begin anew in __iter__(): within an epoch its place is loaded after that.
        is_own = place is not None and place.fetched > 0 and hasattr(self.dataset, "__next__")
        iterator: Any = iter(self.dataset) if is_own else None
        self.put(place)
        if iterator is not self.dataset:
            iterator = iter(self.dataset)
        if of_iterator is not None and self.uses_state:
            if not can_seek(iterator):
                raise ResumeMismatchError(
                    explain(
                        "the state says where the dataset's iterator was, and this one cannot be put there",
                        ("saved: with a state_dict()", f"here: {type(iterator).__name__} without load_state_dict()"),
                        "Resume with the dataset that the state was saved with.",
                    )
                )
            iterator.load_state_dict(of_iterator)
        return iterator

    def begins_wrongly(self, place: Place | None, *, gave: bool) -> bool:
        """Return whether a pass began at a place that was meant for another one; put the dataset back then.

        What a dataset says after a pass may mean "at the end", and would make the next one empty, where one that was
        not interrupted begins anew. And some keep a place that was loaded for every pass that follows: what they say
        after the first sample gives them away, which is what they said after the first sample of the pass that began
        there.

        Args:
            place: Where this pass began.
            gave: Whether it gave a first sample.

        Raises:
            ResumeMismatchError: The dataset did not say where it was before, so that it cannot be put back.
        """
        if self._before is None:
            return False
        said, first = pickle.dumps((gave, self._said())), self._first
        if stated(place)[0] is not None:
            self._first = said
            if gave or place is None or place.fetched or not place.ended:
                return False
        elif said != first or (gave and said == pickle.dumps((gave, self._before))):
            self._before = None
            return False
        before, self._before = self._before, None
        if not before and gave:
            return False
        if not before:
            raise ResumeMismatchError(
                explain(
                    "what the dataset said of itself after an epoch makes the next one empty",
                    (f"saved: {type(self.dataset).__name__} after an epoch with samples", "here: no sample"),
                    'Pass stream_state="ignore" to begin with the dataset as it was made, or let its __iter__() begin '
                    "anew once it is at its end.",
                )
            )
        self.dataset.load_state_dict(before[0])
        return True

    def place(self, iterator: Any, fetched: int, *, ended: bool) -> Place | None:
        """Return where it is after the samples made so far; None if it cannot say."""
        of_dataset = self.dataset.state_dict() if self.can_seek else None
        has_own = self.uses_state and iterator is not self.dataset and can_seek(iterator)
        of_iterator = iterator.state_dict() if has_own else None
        if of_dataset is None and of_iterator is None:
            return None
        return Place(fetched, ended, pickle.dumps((of_dataset, of_iterator, {})))

    def between(self) -> Place | None:
        """Return where it is between two passes; None if there is nothing to say."""
        now = shown(self.dataset) if self._as_made else {}
        changed = {name: now[name] for name, value in self._as_made.items() if now.get(name, value) != value}
        of_dataset = next(iter(self._said()), None)
        if of_dataset is None and not changed:
            return None
        return Place(0, self.has_given, pickle.dumps((of_dataset, None, changed)))

    def _said(self) -> list[Any]:
        """Return what the dataset says of itself in a list, which is empty if it does not."""
        with suppress(Exception):  # before its first pass it may not have what it speaks of
            return [copy.deepcopy(self.dataset.state_dict())] if self.can_seek else []
        return []

    def _require_shown(self, changed: dict[str, Any]) -> None:
        """Refuse to begin a pass with a dataset that remembers other passes than the saved one did."""
        here = shown(self.dataset)
        differences = [
            f"{name}: saved {cut(value)}, here {cut(here[name])}"
            for name, value in {**self._as_made, **changed}.items()
            if here.get(name, value) != value
        ]
        if differences:
            raise ResumeMismatchError(
                explain(
                    "the dataset is not as it was when this epoch began",
                    tuple(differences),
                    "Give it state_dict() and load_state_dict(), or a set_epoch() that decides its order, or make it "
                    "as it was before iterating; or call the loader's set_epoch() to begin at another epoch.",
                )
            )


def stated(place: Place | None) -> tuple[Any, Any, dict[str, Any]]:
    """Return what a place says of the dataset, of its iterator, and of what has changed."""
    if place is None or not place.state:
        return None, None, {}
    of_dataset, of_iterator, *changed = pickle.loads(place.state)
    return of_dataset, of_iterator, changed[0] if changed else {}


def can_seek(dataset: Any) -> bool:
    """Return whether it says where it is and can be put there: torchdata's Stateful protocol.

    One whose methods want other arguments (litdata's and mosaicml-streaming's do) does not speak it.
    """
    return takes(dataset, "state_dict") and takes(dataset, "load_state_dict", None)


def has_buffer(dataset: Any) -> bool:
    """Return whether it is one of Hugging Face's that shuffles through a buffer, which its state leaves out.

    So its own documentation of `IterableDataset.state_dict` says (datasets 5.2); the buffer is a link of a chain.
    """
    part = getattr(dataset, "_ex_iterable", None)
    while part is not None:
        if getattr(part, "buffer_size", None):
            return True
        part = getattr(part, "ex_iterable", None)
    return False
