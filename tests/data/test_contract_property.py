"""Whatever a sampler or a stream is like inside, a loader over it goes on exactly, or refuses to."""

from __future__ import annotations

import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.data import IterableDataset

from deterministic import make_loader
from deterministic.errors import DeterministicError, NondeterminismWarning, ReplayWarning, ResumeMismatchError

from ..properties import examples

LENGTH = 6


@dataclass(frozen=True)
class Kind:
    """What somebody else's sampler or stream may be like.

    Attributes:
        generator: Where it draws from: the global generator, one made with it, one made at its first pass, one made at
            every pass; None: it does not draw.
        lazy: Whether it draws an index at a time, or all at the beginning of a pass.
        remembers: Whether a pass depends on how many came before.
        stateful: Whether it has state_dict() and load_state_dict(), which say all of it.
        at_end: Whether its state after a pass means the end of that pass, until the next one begins.
        sticky: Whether the number that a pass was put at is where all later ones begin, too.
        own_iterator: Whether it is its own iterator.
        resets: Whether `__iter__` forgets what was loaded before it; for its own iterator alone.
        bare: Whether its attributes exist only once a pass has begun.
    """

    generator: Literal["global", "early", "once", "late"] | None = None
    lazy: bool = False
    remembers: bool = False
    stateful: bool = False
    at_end: bool = False
    sticky: bool = False
    own_iterator: bool = False
    resets: bool = False
    bare: bool = False


class Numbers:
    """The numbers up to `LENGTH` in an order, as its kind makes it."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.rng: Any = random.Random(5) if kind.generator == "early" else None
        self.passes = 0
        self.loaded: dict[str, Any] | None = None
        self.start = 0
        if not kind.bare:
            self.at = 0
            self.begun: Any = None

    def __iter__(self) -> Iterator[int]:
        if self.kind.generator == "late" or (self.kind.generator == "once" and self.rng is None):
            self.rng = random.Random(7)
        loaded, self.loaded = self.loaded, None
        self.begun, self.at = None if self.rng is None else self.rng.getstate(), self.start
        if loaded is not None and not self.kind.resets:
            self._go_to(loaded)
            self.start = self.at if self.kind.sticky else 0
        walk = self._walk(self.passes)
        self.passes += 1
        if not self.kind.own_iterator:
            return walk
        self.walk = walk
        return self

    def __next__(self) -> int:
        return next(self.walk)

    def _go_to(self, loaded: dict[str, Any]) -> None:
        self.at, self.passes, self.begun = loaded["at"], loaded["passes"], loaded["rng"]
        if self.rng is not None and self.begun is not None:
            self.rng.setstate(self.begun)

    def _walk(self, number: int) -> Iterator[int]:
        draws: Any = random if self.kind.generator == "global" else self.rng
        left = list(range(LENGTH))
        if not self.kind.lazy and draws is not None:
            draws.shuffle(left)
        for place in range(LENGTH):
            given = left.pop(draws.randrange(len(left)) if self.kind.lazy and draws is not None else 0)
            if place >= self.at:
                self.at = place + 1
                yield (given + number) % LENGTH if self.kind.remembers else given
        if not self.kind.at_end:
            self.at = 0
            self.begun = None if self.rng is None or self.kind.generator == "late" else self.rng.getstate()


class Stateful(Numbers):
    """The same, on torchdata's protocol."""

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at, "passes": self.passes - (self.at > 0), "rng": self.begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state
        if self.kind.resets:
            self._go_to(state)
            self.walk = self._walk(self.passes)
            self.passes += 1


class Sampler(Numbers):
    def __len__(self) -> int:
        return LENGTH


class StatefulSampler(Stateful, Sampler):
    pass


class Stream(Numbers, IterableDataset[int]):
    pass


class StatefulStream(Stateful, Stream):
    pass


Make = Callable[[], Any]
Step = int | Literal["resume", "peek", "leave"]


def play(make: Make, plan: list[Step], *, uninterrupted: bool) -> list[Any]:
    """Iterate a loader by a plan, and return what was seen: samples, and "end" at the end of each epoch."""
    loader, iterator = make(), None
    seen: list[Any] = []
    for step in plan:
        if step == "leave":
            loader.set_epoch(loader.epoch + 1)
            iterator = None
        elif step == "resume" and not uninterrupted:
            state, iterator = pickle.dumps(loader.state_dict()), None
            loader = make()
            loader.load_state_dict(pickle.loads(state))
        elif step == "peek" and not uninterrupted:
            with suppress(DeterministicError):
                loader.peek()
        elif isinstance(step, int):
            for _ in range(step):
                iterator = iter(loader) if iterator is None else iterator
                batch = next(iterator, "end")
                seen += [batch] if batch == "end" else batch
                iterator = None if batch == "end" else iterator
    return seen


def outcome(make: Make, plan: list[Step]) -> str:
    """Play a plan with its stops and without; return how they compare."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReplayWarning)
        warnings.simplefilter("error", NondeterminismWarning)
        try:
            expected = play(make, plan, uninterrupted=True)
            assert "leave" in plan or expected[LENGTH :: LENGTH + 1] == ["end"] * (len(expected) // (LENGTH + 1))
            found = play(make, plan, uninterrupted=False)
        except ResumeMismatchError:
            return "refused"
        except NondeterminismWarning:
            return "said"
    assert found == expected
    return "exact"


def over_a_sampler(kind: Kind) -> Make:
    made = StatefulSampler if kind.stateful else Sampler
    # torch's BatchSampler asks for an iterator at every batch.
    shape: dict[str, Any] = {"batch_size": 2, "collate_fn": list}
    if kind.own_iterator:
        shape = {"batch_size": None, "collate_fn": lambda index: [index]}
    return lambda: make_loader(range(LENGTH), sampler=made(kind), seed=0, **shape)


def over_a_stream(kind: Kind, **arguments: Any) -> Make:
    made = StatefulStream if kind.stateful else Stream
    return lambda: make_loader(made(kind), batch_size=2, collate_fn=list, seed=0, **arguments)


def possible(kind: Kind) -> Kind:
    """Return the kind whose state, if it has one, is what its rest depends on, and can be loaded."""
    unsaid = kind.stateful and kind.generator == "global"
    return replace(kind, lazy=kind.lazy and not unsaid, resets=kind.resets and kind.own_iterator)


KINDS = st.builds(
    Kind,
    generator=st.sampled_from([None, "global", "early", "once", "late"]),
    lazy=st.booleans(),
    remembers=st.booleans(),
    stateful=st.booleans(),
    at_end=st.booleans(),
    sticky=st.booleans(),
    own_iterator=st.booleans(),
    resets=st.booleans(),
    bare=st.booleans(),
).map(possible)
STEPS: st.SearchStrategy[Step] = st.one_of(st.integers(1, 5), st.sampled_from(["resume", "peek", "leave"]))
PLANS = st.lists(STEPS, min_size=1, max_size=8).map(lambda plan: [*plan, "resume", 6])


def is_open(kind: Kind, plan: list[Step], *, is_stream: bool = False) -> bool:
    """Return whether it is known to go on as something else in silence; a line goes when its fault does."""
    if not is_stream:
        # One that is its own iterator is not copied for a look, but put back to what it said.
        is_looked_at = "peek" in plan and kind.stateful and kind.at_end
        return kind.own_iterator and (is_looked_at or (kind.resets and kind.remembers))
    unpeeked = [step for step in plan if step != "peek"]
    if ("resume", "leave") in pairwise(unpeeked):
        return True  # a place that was given up before it was begun: the stream is as it was made
    if kind.stateful and kind.own_iterator and kind.resets and (kind.remembers or kind.generator):
        return True  # forgets in __iter__() what it was loaded with, which between two epochs comes before
    return kind.stateful and kind.generator == "global"  # draws its order in a __next__() seeded for another sample


@given(KINDS, st.integers(1, LENGTH - 1), st.integers(0, 2))
@settings(max_examples=examples(3))
def test_the_states_here_say_all_that_a_rest_depends_on(kind: Kind, count: int, passes: int) -> None:
    kind = possible(replace(kind, stateful=True, at_end=False, sticky=False, bare=False))
    one, other = Stateful(kind), Stateful(kind)
    for number in range(passes):
        random.seed(number)
        rest(iter(one))
    random.seed(passes)
    walk = iter(one)
    for _ in range(count):
        next(walk)
    state = one.state_dict()
    random.seed(passes)
    resumed = iter(other) if kind.resets else None
    other.load_state_dict(state)
    assert rest(walk) == rest(iter(other) if resumed is None else resumed)
    random.seed(passes + 1)
    following = rest(iter(one))
    random.seed(passes + 1)
    assert following == rest(iter(other))


def rest(walk: Iterator[int]) -> list[int]:
    """Return what an iterator still gives, without asking it for an iterator."""
    return list(iter(lambda: next(walk, -1), -1))


@given(KINDS, PLANS)
@settings(max_examples=examples(3))
def test_a_loader_over_any_sampler_is_exact_or_refuses(kind: Kind, plan: list[Step]) -> None:
    assume(not is_open(kind, plan))
    outcome(over_a_sampler(kind), plan)


@given(KINDS, PLANS)
@settings(max_examples=examples(3))
def test_a_loader_over_any_stream_is_exact_or_refuses(kind: Kind, plan: list[Step]) -> None:
    assume(not is_open(kind, plan, is_stream=True))
    outcome(over_a_stream(kind), plan)


@pytest.mark.parametrize("persistent", [False, True])
@given(KINDS, PLANS)
@settings(max_examples=examples(1 / 5))
def test_a_loader_over_any_stream_in_a_worker_is_exact_or_refuses(
    persistent: bool, kind: Kind, plan: list[Step]
) -> None:
    assume(not is_open(kind, plan, is_stream=True))
    outcome(over_a_stream(kind, num_workers=1, persistent_workers=persistent), plan)


@given(st.sampled_from([None, "global"]), st.booleans(), PLANS)
@settings(max_examples=examples())
def test_a_sampler_that_depends_on_global_generators_alone_is_exact(
    generator: Any, lazy: bool, plan: list[Step]
) -> None:
    assert outcome(over_a_sampler(Kind(generator, lazy)), plan) == "exact"
