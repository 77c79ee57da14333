"""Who draws numbers from the operating system, or a seed from the clock: numbers that no seed decides.

The policy is a setting like any other one: captured, applied and restored, so nesting, suspension and exits in any
order need nothing of their own. While there is one, what `_places` lists stands in the place of the functions through
which Python, NumPy and PyTorch ask for entropy; while there is none, nothing is replaced.
"""

from __future__ import annotations

import itertools
import operator
import os
import random
import sys
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial, wraps
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import numpy.random.bit_generator as numpy_bits
import torch

from ..errors import DeterministicError, EntropyError, NondeterminismWarning, SeedError, explain, place
from ..ground import entropy as shared
from ..ground.callers import Origin, origin_of
from ..ground.config import Config
from ..ground.entropy import EntropyMode, current
from ..ground.seeds import derive_seed, numpy_seed
from ..ground.source import NOTHING, Applied, Caught, JSON, Limit, SourceKind

_MOST = 64
_CLOCK_SECONDS = 60
"""How old a time may be to be known as one: one in 35 million seeds below 2**32 looks like one by chance."""

_UNSEEN = Limit(
    "torch.Generator",
    "A type of C++ cannot be watched: each torch.Generator() begins with the same seed, and its seed() with any.",
    'Seed it, torch.Generator().manual_seed(seed), or take run.generator("name").',
)
_NUMPY_UNSEEN = Limit(
    "numpy.random",
    "This NumPy does not ask numpy.random.bit_generator.randbits for entropy, so its unseeded generators are not seen.",
    'Pass a seed to each, for example run.derive("name").',
)


class _Asked(NamedTuple):
    """What is asked for, and what to do instead; whether a seed can be given, and whether it may be for a name."""

    what: str
    remedy: str
    is_seedable: bool = False
    may_name: bool = False


_NAMED = 'Draw from run.numpy("name"), which has a seed; where only a name comes of it: with run.allow_entropy().'
_PYTHON = _Asked("random.Random() without a seed", 'Pass one: random.Random(run.derive("name")).', True, True)
_NUMPY = _Asked(
    "a NumPy generator or SeedSequence without a seed",
    'Pass a seed, or take run.numpy("name"); what makes one by itself takes rng=, seed=, random_state= or v0=.',
    True,
)
_GLOBALLY = _Asked("{}.seed() without a seed", "Pass one, or leave it out: the scope has seeded it.", True)
_TORCH = _Asked("torch.seed()", "Leave it out, or call torch.manual_seed(seed): the scope has seeded torch.")
_CLOCK = _Asked("a seed read from the clock", 'Pass one that can be passed again, for example run.derive("name").')


class Ledger(dict[Caught, int]):
    """What was caught, and how often; past `_MOST` places the rest is counted as one."""

    def note(self, caught: Caught) -> bool:
        """Count it; return whether it is new."""
        if caught not in self and len(self) >= _MOST:
            caught = Caught("elsewhere", "from other places", "", False)
        self[caught] = self.get(caught, 0) + 1
        return self[caught] == 1


class Policy:
    """What is done about entropy, for one scope. Immutable but for what it has caught and which seeds it has given.

    Attributes:
        mode: One of `ground.levels.ENTROPY` but "ignore", for which there is none.
        seed: Where "seed" takes it from.
        ledger: What was caught since.
        outer: The ledgers of the policies around it, as long as somebody keeps them for a report.
        given: The numbers of the seeds to give next, by site.
        reached: The same as plain numbers.
    """

    __slots__ = ("given", "ledger", "mode", "outer", "reached", "seed")

    def __init__(self, mode: EntropyMode, seed: int | None, around: Policy | None = None) -> None:
        self.mode, self.seed, self.ledger = mode, seed, Ledger()
        self.given: dict[str, Iterator[int]] = {}
        self.reached: dict[str, int] = {}
        self.outer: tuple[weakref.ref[Ledger], ...] = ()
        if around is not None:
            self.outer = (weakref.ref(around.ledger), *(ledger for ledger in around.outer if ledger() is not None))

    def __reduce__(self) -> Any:
        return Policy, (self.mode, self.seed)  # for a worker, which tells nobody what it has caught

    def note(self, caught: Caught) -> bool:
        """Note it for every report; return whether it is new in all of them."""
        ledgers = [self.ledger, *(ledger() for ledger in self.outer)]
        return min(ledger.note(caught) for ledger in ledgers if ledger is not None)  # which asks each of them

    def next_seed(self, origin: Origin) -> int:
        """Return the next seed, 0 <= seed < 2**64, of a line of a function, wherever that stands in its file.

        Within a sample it comes from the sample's key, and of who asks: what led there depends on the workers. In a
        worker of a plain DataLoader it comes from that worker's own seed, too, which is another one in each epoch.
        """
        is_sample = current.key is not None
        frame = origin.caller if is_sample else origin.user
        module = str(frame.f_globals.get("__name__")).replace("__mp_main__", "__main__")  # as a spawned worker has it
        code = frame.f_code
        first = 0 if code.co_name.startswith("<") else code.co_firstlineno  # lambdas have no name to tell them apart
        site = f"{module}:{code.co_name}:{frame.f_lineno - first}"
        if is_sample:
            current.made = given = {} if current.made is None else current.made
            return derive_seed(current.key or 0, "entropy", site, next(given.setdefault(site, itertools.count())))
        number = next(self.given.setdefault(site, itertools.count()))
        self.reached[site] = number + 1
        worker = torch.utils.data.get_worker_info()
        return derive_seed(self.seed or 0, "entropy", site, number, *(() if worker is None else (worker.seed,)))


_policy: Policy | None = None
_is_installed = False


class EntropyWatch:
    """What is done where numbers come from the operating system, or seeds from the clock: `entropy=`."""

    name = "entropy"
    kind: SourceKind = "setting"

    def capture(self) -> Policy | None:
        return _policy

    def apply(self, config: Config) -> Applied:
        if config.entropy is None and _policy is None:
            return NOTHING
        mode = config.entropy or (_policy.mode if _policy is not None else "ignore")
        if mode == "ignore":
            _put(None)
            return Applied({"mode": None})
        seed = _policy.seed if config.seed is None and _policy is not None else config.seed
        if mode == "seed" and seed is None:
            remedy = "Give the scope one, for example reproducible(seed=42, entropy='seed')."
            raise SeedError(explain('entropy="seed" has no seed to begin with', ("found: seed=None",), remedy))
        if mode == "seed" and not _numpy_asks():
            differs, remedy = 'entropy="seed" does not reach the generators of this NumPy', 'Use entropy="warn".'
            raise DeterministicError(explain(differs, (f"found: {_NUMPY_UNSEEN.reason}",), remedy))
        policy = Policy(mode, seed, _policy)
        if config.seed is None and _policy is not None:  # nothing begins anew
            policy.given, policy.reached = _policy.given, _policy.reached
        _put(policy)
        return Applied({"mode": mode}, (_UNSEEN,) if _numpy_asks() else (_UNSEEN, _NUMPY_UNSEEN), policy.ledger)

    def restore(self, state: Policy | None) -> None:
        if state is not _policy or _is_installed is (state is None):
            _put(state)

    def describe(self, state: Policy | None) -> dict[str, JSON]:
        if state is None:
            return {"mode": None, "seed": None}
        return {"mode": state.mode, "seed": state.seed if state.mode == "seed" else None}

    def reached(self) -> dict[str, int]:
        """Return how many seeds each line was given, for `go_on` in a run that is resumed."""
        return {} if _policy is None else {**_policy.reached}

    def go_on(self, reached: Mapping[str, int]) -> None:
        """Give each line the seeds that come after those."""
        if _policy is not None:
            _policy.given.clear()
            _policy.given.update((site, itertools.count(number)) for site, number in reached.items())
            _policy.reached.clear()
            _policy.reached.update(reached)


def _put(policy: Policy | None) -> None:
    global _policy, _is_installed
    if policy is None and _is_installed:
        for names, name, original, instead, _ in _places():
            if names.get(name) is instead:  # else somebody has put another one there since
                names[name] = original
    elif policy is not None and not _is_installed:
        _is_installed = True  # first, so that after an interrupt all that is there is taken away
        for place in _places():
            names, name, original, instead, make = place
            if names.get(name) is not original:
                place[:] = _place(names, name, make)
                instead = place[3]
            names[name] = instead
    _is_installed = policy is not None
    shared.before_seeding, _policy = None if policy is None else _before_seeding, policy


class _OfClass:
    """The names of a class as those of a module are: to be read and written."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def get(self, name: str) -> Any:
        return vars(self._owner).get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._owner, name, value)


def _place(names: Any, name: str, make: Callable[[Any], Any]) -> list[Any]:
    """Return what stands under a name, or what that stands for where it is one of ours, and what is to stand there."""
    found = names.get(name)
    original = getattr(found, "__dict__", {}).get("_watched", found)
    instead = make(original)
    instead._watched = original
    return [names, name, original, instead, make]


@cache
def _places() -> tuple[list[Any], ...]:
    rows: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (os, "urandom", partial(_noting, _Asked("os.urandom()", _NAMED, may_name=True))),
        # A name of its own for the same, which SystemRandom and secrets draw from.
        (random, "_urandom", partial(_noting, _Asked("random.SystemRandom", _NAMED, may_name=True))),
        (uuid, "uuid1", partial(_noting, _Asked("uuid.uuid1()", _NAMED, may_name=True))),
        (random.Random, "seed", _python_seed),
        (numpy_bits, "randbits", _numpy_randbits),
        # Both make an unseeded generator also where they are given a seed or a key, and only then take that.
        # In the modules that define them they stay, where pickle looks for them.
        (np.random, "RandomState", partial(_numpy_class, _is_unseeded)),
        (np.random, "Philox", partial(_numpy_class, _is_unseeded)),
        (np.random.mtrand, "_MT19937", partial(_numpy_class, None)),  # for any RandomState, bound before or not
        *((owner, name, partial(_noting, _TORCH)) for owner in (torch, torch.cuda) for name in ("seed", "seed_all")),
        (torch.random, "seed", partial(_noting, _TORCH)),
    ]
    known = [(_OfClass(owner) if isinstance(owner, type) else vars(owner), name, make) for owner, name, make in rows]
    return tuple(_place(*row) for row in known if row[0].get(row[1]) is not None)


def _noting(asked: _Asked, original: Any) -> Any:
    @wraps(original)
    def noting(*args: Any, **kwargs: Any) -> Any:
        _meet(asked, sys._getframe(1))
        return original(*args, **kwargs)

    return noting


def _python_seed(original: Any) -> Any:
    @wraps(original)
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None:
            a = _meet(_PYTHON, sys._getframe(1))
        elif _is_clock(a):
            _meet(_CLOCK, sys._getframe(1))
        original(self, a, version)

    return seed


def _is_unseeded(seed: Any = None, counter: Any = None, key: Any = None) -> bool:
    return seed is None and key is None


def _numpy_class(is_unseeded: Callable[..., bool] | None, genuine: Any) -> Any:
    """Return a class that makes instances of the genuine one, and has all of them; None: nobody knows if seeded."""

    class Watching(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            if cls is not watching:  # a class of the user's
                return super().__call__(*args, **kwargs)
            seed = None
            if is_unseeded is None and _policy is not None and _policy.mode == "seed":
                frame = sys._getframe(1)
                while frame.f_code is Watching.__call__.__code__ and frame.f_back is not None:
                    frame = frame.f_back  # of a class that was derived from one of these
                origin = origin_of(frame)
                seed = None if origin is None else _policy.next_seed(origin)
            elif is_unseeded is not None and is_unseeded(*args, **kwargs):
                seed = _meet(_NUMPY, sys._getframe(1))
            return genuine(*args, **kwargs) if seed is None else genuine(numpy_seed(seed))

        def __instancecheck__(cls, one: Any) -> bool:
            return isinstance(one, genuine) if cls is watching else super().__instancecheck__(one)

        def __subclasscheck__(cls, one: Any) -> bool:
            return issubclass(one, genuine) if cls is watching else super().__subclasscheck__(one)

    names = {"__module__": "numpy.random", "__doc__": genuine.__doc__}  # where it stands
    watching: Any = Watching(genuine.__name__, (genuine,), names)
    return watching


def _numpy_randbits(original: Any) -> Any:
    def randbits(k: int) -> int:
        seed = _meet(_NUMPY, sys._getframe(1))
        if seed is None:
            return int(original(k))
        return sum(derive_seed(seed, word) << 64 * word for word in range(k // 64 + 1)) & ((1 << k) - 1)

    return randbits


def _before_seeding(generator: str, seed: Any, caller: FrameType) -> Any:
    """See `ground.entropy`: the functions that seed globally are watched already, for reports and traces."""
    if seed is None and generator != "torch":
        found = _meet(_GLOBALLY._replace(what=_GLOBALLY.what.format(generator.removeprefix("python."))), caller)
        return numpy_seed(found) if found is not None and generator == "numpy.random" else found
    if _is_clock(seed):
        _meet(_CLOCK, caller)
    return None


def _is_clock(seed: Any) -> bool:
    """Return whether a seed is the time of the last minute in s, ms, us or ns, or that and the process id.

    webdataset adds the id. A time of which a part was taken, as by `% 2**32`, is not known from other numbers.
    """
    try:
        number = seed if isinstance(seed, float) else operator.index(seed)
    except TypeError:
        return False
    if not 1e9 < number < 2**64:
        return False
    ages = [time.time() - number / unit for unit in (1.0, 1e3, 1e6, 1e9)]
    return any(-1 <= age + added <= _CLOCK_SECONDS for age in ages for added in (0, os.getpid()))


def _meet(asked: _Asked, frame: FrameType) -> int | None:
    """Note who asks for entropy, and do what the policy says; return the seed to take instead, if any."""
    policy = _policy
    origin = None if policy is None else origin_of(frame, may_name=asked.may_name)
    if policy is None or origin is None:
        return None
    what, file, line = origin.through or asked.what, origin.user.f_code.co_filename, origin.user.f_lineno
    is_seeded = policy.mode == "seed" and asked.is_seedable
    is_new = policy.note(Caught(place(file, line), what, origin.by, is_seeded))
    if is_seeded:
        return policy.next_seed(origin)
    by = (f"by: {origin.by}()",) if origin.by else ()
    text = explain(
        "random numbers that no seed decides", (f"at: {place(file, line)}", *by, f"from: {what}"), asked.remedy
    )
    if policy.mode == "raise":
        raise EntropyError(text)
    if is_new:
        names = origin.user.f_globals
        registry = names.setdefault("__warningregistry__", {})
        warnings.warn_explicit(text, NondeterminismWarning, file, line, names.get("__name__"), registry)
    return None


@cache
def _numpy_asks() -> bool:
    """Return whether NumPy's unseeded generators ask `bit_generator.randbits`, an internal name, for their entropy."""
    original: Any = getattr(numpy_bits, "randbits", None)
    asked: list[int] = []
    try:
        numpy_bits.randbits = lambda k: (asked.append(k), original(k))[1]  # type: ignore[attr-defined, func-returns-value]
        numpy_bits.SeedSequence()
    finally:
        numpy_bits.randbits = original  # type: ignore[attr-defined]
    return bool(asked)
