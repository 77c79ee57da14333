"""Streams as others write them: with a state that means this or that, on from one epoch to the next, interrupted."""

from __future__ import annotations

import gc
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch.utils.data import IterableDataset

from deterministic import make_loader
from deterministic.errors import DeterministicError, NondeterminismWarning, ReplayWarning, ResumeMismatchError

from ..properties import covering, on_demand

LENGTH = 5


class Cursor(IterableDataset[int]):
    """Its place is an attribute; at its end it begins anew, and counts."""

    def __init__(self) -> None:
        self.epoch = self.at = 0

    def __iter__(self) -> Iterator[int]:
        while self.at < LENGTH:
            self.at += 1
            yield 10 * self.epoch + self.at - 1
        self.epoch, self.at = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.at = state["epoch"], state["at"]


class Endless(Cursor):
    """An epoch is a part of a long file, and the next one goes on behind it."""

    def __iter__(self) -> Iterator[int]:
        while True:
            self.at += 1
            yield self.at
            if self.at % LENGTH == 0:
                return


class Sticky(IterableDataset[int]):
    """A place that was loaded stays its beginning, and what it says at its end means the end."""

    start = at = 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.start, LENGTH):
            self.at = number + 1
            yield number

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["at"]


class Consumed(Sticky):
    """A place that was loaded is the beginning of one pass."""

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        for number in range(start, LENGTH):
            self.at = number + 1
            yield number


class Own(IterableDataset[int]):
    """Is its own iterator, begins anew in __iter__(), and has nothing to say before."""

    def __iter__(self) -> Own:
        self.at = 0
        return self

    def __next__(self) -> int:
        if self.at >= LENGTH:
            raise StopIteration
        self.at += 1
        return self.at

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


class Silent(IterableDataset[int]):
    """Says nothing of itself, and remembers nothing."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(LENGTH))


class WithArguments(Silent):
    """Has methods of the names, which want other arguments."""

    def state_dict(self, samples: int, workers: int) -> dict[str, int]:
        return {"samples": samples, "workers": workers}

    def load_state_dict(self, state: dict[str, int]) -> None:
        raise AssertionError("not asked for")


class Rotating(IterableDataset[int]):
    """Counts its passes where nobody asks, and gives another order in each."""

    passes = -1

    def __init__(self) -> None:
        self.passes = -1

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        return iter([(number + self.passes) % LENGTH for number in range(LENGTH)])


EXACT = [Cursor, Endless, Sticky, Consumed, Own, Silent, WithArguments]
WORKERS: list[dict[str, Any]] = [
    {"num_workers": 0},
    {"num_workers": 1},
    {"num_workers": 2},
    {"num_workers": 1, "persistent_workers": True},
    {"num_workers": 2, "persistent_workers": True},
]
SIZES: list[dict[str, Any]] = [{"batch_size": None}, {"batch_size": 2}, {"batch_size": 2, "drop_last": True}]

pytestmark = pytest.mark.filterwarnings("ignore::deterministic.errors.ReplayWarning")


def new(stream: Callable[[], Any], **arguments: Any) -> Any:
    return make_loader(stream(), seed=0, **arguments)


def seen(loader: Any, count: int = -1) -> list[Any]:
    found = []
    for batch in loader:
        found.append(batch.tolist() if hasattr(batch, "tolist") else batch)
        if len(found) == count:
            break
    return found


def passed_on(state: Any) -> Any:
    return json.loads(json.dumps(state))


def id_of(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else "-".join(map(str, value.values()))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [WORKERS[0], WORKERS[4], *on_demand(WORKERS[1:4])], ids=id_of)
@pytest.mark.parametrize("stream", EXACT, ids=id_of)
def test_a_stream_goes_on_as_if_it_had_not_been_interrupted(stream: type, arguments: dict[str, Any]) -> None:
    for sizes in SIZES[: 1 if arguments["num_workers"] == 2 else 3]:
        arguments = {**arguments, **sizes}
        loader = new(stream, **arguments)
        whole = [seen(loader) for _ in range(4)]
        assert all(whole)
        for epoch, done in [(0, 0), (0, 1), (0, len(whole[0])), (1, 0), (1, 1), (2, 2)]:
            if stream is Endless and done == len(whole[0]):
                continue  # whether the end of an epoch or the beginning of the next, its state does not say
            iterated = new(stream, **arguments)
            assert [seen(iterated) for _ in range(epoch)] == whole[:epoch]
            iterator = iter(iterated)
            for _ in range(done):
                next(iterator)
            resumed = new(stream, **arguments)
            resumed.load_state_dict(passed_on(iterated.state_dict()))
            rest = [whole[epoch][done:], *whole[epoch + 1 :]]
            assert [seen(resumed) for _ in rest] == rest, (epoch, done)


@pytest.mark.parametrize(
    ("stream", "arguments"), covering([Cursor, Endless, Sticky, Consumed, Own], [WORKERS[0], WORKERS[3]]), ids=id_of
)
def test_a_resume_of_a_resume_is_exact_within_an_epoch_and_between_two(stream: type, arguments: dict[str, Any]) -> None:
    loader = new(stream, batch_size=None, **arguments)
    whole = [seen(loader) for _ in range(3)]
    state = None
    found: list[Any] = []
    while len(found) < 3 * LENGTH:
        resumed = new(stream, batch_size=None, **arguments)
        if state is not None:
            resumed.load_state_dict(passed_on(state))
        found += seen(resumed, 2)
        state = resumed.state_dict()
    assert found == [sample for epoch in whole for sample in epoch]


@pytest.mark.parametrize("stream", EXACT, ids=id_of)
def test_a_look_at_the_next_batch_moves_no_stream(stream: type) -> None:
    for arguments in WORKERS[::3]:
        expected, loader = new(stream, batch_size=2, **arguments), new(stream, batch_size=2, **arguments)
        for _ in range(2):
            batch = loader.peek().tolist()
            epoch = seen(loader)
            assert epoch == seen(expected)
            assert epoch[0] == batch


def test_a_look_at_a_stream_that_remembers_its_passes_is_true_or_refused() -> None:
    expected, loader = new(Rotating, batch_size=2), new(Rotating, batch_size=2)
    assert [loader.peek().tolist(), *seen(loader)[1:]] == seen(expected)
    assert [loader.peek().tolist(), *seen(loader)[1:]] == seen(expected)
    loader = new(Rotating, batch_size=2, **WORKERS[3])
    seen(loader)
    with pytest.raises(ResumeMismatchError, match="passes: saved 0, here -1"):
        loader.peek()


def test_what_cannot_be_copied_is_not_looked_at() -> None:
    class Uncopied(Silent):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies")

    loader = new(Uncopied)
    with pytest.raises(DeterministicError, match="without moving it"):
        loader.peek()
    assert loader.epoch == 0
    assert len(seen(loader)) == LENGTH


@pytest.mark.parametrize("stream", [Sticky, Consumed], ids=id_of)
def test_an_epoch_that_was_resumed_and_left_loses_nothing_of_the_next(stream: type) -> None:
    iterated = new(stream, batch_size=None)
    seen(iterated, 2)
    resumed = new(stream, batch_size=None)
    resumed.load_state_dict(iterated.state_dict())
    assert seen(resumed, 1) == [2]
    resumed.set_epoch(0)
    assert [seen(resumed) for _ in range(2)] == [list(range(LENGTH))] * 2


def test_a_place_is_taken_back_in_the_process_that_made_it() -> None:
    loader = new(Cursor, batch_size=None)
    fresh = loader.state_dict()
    first = seen(loader, 3)
    within = loader.state_dict()
    rest = seen(loader)
    loader.load_state_dict(within)
    assert seen(loader) == rest == [3, 4]
    loader.load_state_dict(fresh)
    assert seen(loader) == first + rest


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [WORKERS[0], WORKERS[3]], ids=id_of)
def test_a_stream_that_remembers_its_passes_is_refused_where_it_has_made_others(arguments: dict[str, Any]) -> None:
    for epoch, done in [(1, 0), (1, 2), (2, 0)]:
        iterated = new(Rotating, batch_size=1, **arguments)
        for _ in range(epoch):
            seen(iterated)
        seen(iterated, done) if done else None
        resumed = new(Rotating, batch_size=1, **arguments)
        resumed.load_state_dict(passed_on(iterated.state_dict()))
        with pytest.raises(ResumeMismatchError, match=rf"passes: saved {epoch - 1}, here -1"):
            seen(resumed)


def test_one_that_is_as_it_was_goes_on_exactly() -> None:
    iterated = new(Rotating, batch_size=1)
    whole = [seen(iterated) for _ in range(3)]
    iterated = new(Rotating, batch_size=1)
    seen(iterated)
    seen(iterated, 2)
    stream = Rotating()
    stream.passes = 0
    resumed = make_loader(stream, batch_size=1, seed=0)
    resumed.load_state_dict(passed_on(iterated.state_dict()))
    assert [seen(resumed), seen(resumed)] == [whole[1][2:], whole[2]]


def test_workers_that_begin_anew_in_each_epoch_remember_nothing_and_are_resumed() -> None:
    loader = new(Rotating, batch_size=1, num_workers=1)
    whole = [seen(loader) for _ in range(2)]
    iterated = new(Rotating, batch_size=1, num_workers=1)
    seen(iterated)
    resumed = new(Rotating, batch_size=1, num_workers=1)
    resumed.load_state_dict(passed_on(iterated.state_dict()))
    assert seen(resumed) == whole[1]


def test_other_batches_than_those_seen_before_are_refused() -> None:
    class Changing(IterableDataset[int]):
        shift = 0

        def __iter__(self) -> Iterator[int]:
            return iter(range(type(self).shift, type(self).shift + LENGTH))

    iterated = new(Changing, batch_size=2)
    seen(iterated, 2)
    Changing.shift = 1
    resumed = new(Changing, batch_size=2)
    resumed.load_state_dict(passed_on(iterated.state_dict()))
    with pytest.raises(ResumeMismatchError, match="does not repeat the batches"):
        seen(resumed)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no notes, and a KeyError is no text alone: see `annotate`")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_does_not_take_its_own_state_says_what_else_there_is(workers: int) -> None:
    class Forgetful(Cursor):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise KeyError("examples_iterable")  # as datasets 5.2.0 does for a concatenated stream in two workers

    iterated = new(Forgetful, batch_size=2, num_workers=workers)
    seen(iterated, 2)
    resumed = new(Forgetful, batch_size=2, num_workers=workers)
    resumed.load_state_dict(passed_on(iterated.state_dict()))
    with pytest.raises(KeyError) as raised:
        seen(resumed)
    assert 'pass stream_state="ignore"' in "".join(traceback.format_exception(raised.value))
    del raised
    gc.collect()  # the frame in which torch raised it holds it, and it the worker


def test_a_state_of_an_earlier_version_has_no_digest_and_is_taken() -> None:
    iterated = new(Silent, batch_size=2)
    whole = seen(iterated)
    iterated = new(Silent, batch_size=2)
    seen(iterated, 1)
    state = passed_on(iterated.state_dict())
    del state["digest"]
    resumed = new(Silent, batch_size=2)
    resumed.load_state_dict(state)
    assert seen(resumed) == whole[1:]


def test_its_state_can_be_ignored_also_where_it_was_saved() -> None:
    iterated = new(Cursor, batch_size=2)
    whole = seen(iterated)
    for saving in ("use", "ignore"):
        iterated = new(Cursor, batch_size=2, stream_state=saving)
        seen(iterated, 1)
        resumed = new(Cursor, batch_size=2, stream_state="ignore")
        resumed.load_state_dict(passed_on(iterated.state_dict()))
        with pytest.warns(ReplayWarning):
            assert seen(resumed) == whole[1:]


def test_one_that_cannot_say_where_it_is_can_be_refused_when_the_loader_is_made() -> None:
    for stream in (Silent, WithArguments):
        with pytest.raises(TypeError, match="cannot say where it is"):
            new(stream, stream_state="refuse")
    assert len(seen(new(Cursor, stream_state="refuse"))) == LENGTH
    with pytest.raises(ValueError, match="stream_state="):
        new(Cursor, stream_state="guess")
    with pytest.raises(TypeError, match="stream_state"):
        new(Cursor, stream_state="ignore", randomness="worker")


def test_persistent_workers_of_another_kind_are_refused_for_a_stream_with_a_state() -> None:
    iterated = new(Cursor, **WORKERS[3])
    seen(iterated)
    with pytest.raises(ResumeMismatchError, match="persistent_workers: saved True, here False"):
        new(Cursor, **WORKERS[1]).load_state_dict(iterated.state_dict())


def test_an_epoch_left_with_workers_that_had_fetched_ahead_is_told_and_its_state_refused() -> None:
    iterated = new(Cursor, **WORKERS[3])
    seen(iterated, 1)
    with pytest.warns(NondeterminismWarning, match="had fetched ahead"):
        iterator = iter(iterated)
    state = passed_on(iterated.state_dict())
    del iterator
    with pytest.raises(ResumeMismatchError, match="is not known"):
        new(Cursor, **WORKERS[3]).load_state_dict(state)


def test_a_stream_that_gives_what_its_length_says_is_not_told_on() -> None:
    class Measured(Cursor):
        def __len__(self) -> int:
            return LENGTH

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = new(Measured, batch_size=2, **WORKERS[3])
        assert len(loader) == len(seen(loader)) == 3
