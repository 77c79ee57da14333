"""The watch over entropy: what stands, while there is a policy, in the place of the functions that ask for it.

Numbers from the operating system, and seeds from the clock: no seed decides them. Importing it imports neither numpy
nor torch, so that `deterministic run` may watch a script from its first line on: what belongs to a module is placed
when that has been imported.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial, wraps
from types import FrameType
from typing import Any, NamedTuple

from ..errors import EntropyError, NondeterminismWarning, explain
from . import entropy as shared
from . import launch
from .callers import Origin, origin_of
from .clock import SMALL, is_clock
from .entropy import EntropyMode, current
from .seeds import derive_seed, numpy_seed
from .source import Caught

_MOST = 64


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
_GLOBALLY = _Asked("{}.seed() without a seed", "Pass one, or leave it out: it has been seeded.", True)
_TORCH = _Asked("seed() of a torch.Generator", "Leave it out, or call manual_seed(seed): torch has been seeded.")
_CLOCK = _Asked("a seed read from the clock", 'Pass one that can be passed again, for example run.derive("name").')
_CONSTANT = "a torch.Generator() without a seed: the same numbers from each, whatever the seed of the run"
_NO_RUN = " In a script of deterministic run, `with reproducible() as run:` has that run, with the command's seed."


class Ledger(dict[Caught, int]):
    """What was caught, and how often; past `_MOST` places the rest is counted as one."""

    __slots__ = ("__weakref__", "made")

    def __init__(self) -> None:
        self.made: list[tuple[Any, Caught]] = []  # torch's generators without a seed, which each still may be given

    def note(self, caught: Caught) -> bool:
        """Count it; return whether it is new."""
        if caught not in self and len(self) >= _MOST:
            caught = Caught("elsewhere", "from other places", "", caught.seeded)
        self[caught] = self.get(caught, 0) + 1
        return self[caught] == 1

    def items(self) -> Any:
        """Return what a report has, also of generators that were drawn from, by now, and not seeded before."""
        made, self.made = self.made, []
        for generator, caught in made:
            fresh = type(generator)(generator.device)
            if generator.initial_seed() != fresh.initial_seed():
                continue
            if bool((generator.get_state() == fresh.get_state()).all()):
                self.made.append((generator, caught))
            else:
                self.note(caught)
        return super().items()


class Policy:
    """What is done about entropy, for one scope. Immutable but for what it has caught and which seeds it has given."""

    __slots__ = ("given", "ledger", "mode", "outer", "reached", "seed")

    def __init__(self, mode: EntropyMode, seed: int | None, around: Policy | None = None) -> None:
        self.mode = mode  # but "ignore", for which there is none
        self.seed = seed  # where "seed" takes it from
        self.ledger = Ledger()  # what was caught since
        self.given: dict[str, Iterator[int]] = {}  # the numbers of the seeds to give next, by site
        self.reached: dict[str, int] = {}  # the same as plain numbers
        # The ledgers of the policies around it, as long as somebody keeps them for a report.
        self.outer: tuple[weakref.ref[Ledger], ...] = ()
        if around is not None:
            self.outer = (weakref.ref(around.ledger), *(ledger for ledger in around.outer if ledger() is not None))

    def __reduce__(self) -> Any:
        return Policy, (self.mode, self.seed)  # for a worker, which tells nobody what it has caught

    def ledgers(self) -> list[Ledger]:
        """Return its ledger and those around it: every report has what was caught in it."""
        return [self.ledger, *(ledger for one in self.outer if (ledger := one()) is not None)]

    def note(self, caught: Caught) -> bool:
        """Note it for every report; return whether it is new in all of them."""
        return min([ledger.note(caught) for ledger in self.ledgers()])  # a list: each of them is asked

    def remember(self, generator: Any, frame: FrameType) -> None:
        """Remember a torch.Generator that is made without a seed, until a report tells whether it was given one."""
        origin = origin_of(frame)
        if origin is None:
            return
        for ledger in self.ledgers():
            if len(ledger.made) == _MOST:
                ledger.items()  # which forgets those that were seeded
            if len(ledger.made) < _MOST:
                ledger.made.append((generator, Caught(origin.place, _CONSTANT, origin.by, False)))

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
        data = sys.modules.get("torch.utils.data")
        worker = data and data.get_worker_info()
        return derive_seed(self.seed or 0, "entropy", site, number, *(() if worker is None else (worker.seed,)))


in_effect: Policy | None = None  # the policy that holds now; set by `put`
_is_installed = False
rows: list[list[Any]] = []
"""Of each place: the names of a module or class, one of them, what was found, what is to stand there, its `_place`."""
_classes: list[Any] = []  # the classes among them, as C takes them


def put(policy: Policy | None) -> None:
    """Have a policy in effect, or none. It is in every scope's way: 5 us in all, so there are no detours."""
    global in_effect, _is_installed
    if policy is in_effect and _is_installed is not (policy is None):
        return
    if _is_installed is (policy is None):
        _is_installed = True  # first, so that after an interrupt all that is there is taken away
        for row in rows:
            names, name, original, instead, place = row
            if policy is not None:
                if names.get(name) is not original:
                    row[:] = place() or row
                names[name] = row[3]
            elif names.get(name) is instead:  # else somebody has put another one there since
                names[name] = original
        for each in _classes:
            _forget_looked_up(each)
        _is_installed = policy is not None
    shared.before_seeding, in_effect = None if policy is None else _before_seeding, policy


def reach(*modules: str) -> None:
    """Watch what these imported modules have, from the next policy on; from now on where one is in effect."""
    policy = in_effect
    put(None)
    for module in modules:
        rows.extend(row for recipe in _ROWS.pop(module, ()) if (row := _place(*recipe)))
    put(policy)


def _place(path: str, name: str, make: Callable[[Any], Any]) -> list[Any] | None:
    """Return a row of `rows`; None for an older version, or a script's own module by this name."""
    module, _, instance = path.partition(":")
    owner: Any = sys.modules.get(module)
    owner = getattr(owner, instance, None) if instance else owner
    names = {} if owner is None else _names_of(type(owner)) if instance else vars(owner)
    if (found := names.get(name)) is None:
        return None
    original = getattr(found, "__dict__", {}).get("_watched", found)  # what it stands for, where it is one of ours
    instead = make(original)
    instead._watched = original
    return [names, name, original, instead, partial(_place, path, name, make)]


_forget_looked_up: Any = getattr(getattr(ctypes, "pythonapi", None), "PyType_Modified", None)
"""Has Python look up the methods of a class anew."""


def _names_of(kind: Any) -> dict[str, Any]:
    """Return the dictionary of a class, to be written; empty where Python has it elsewhere.

    torch.Generator, a type of C++, refuses to have its methods set. A class derived from it cannot take its place:
    torch.compile knows generators by their very type, and fails on any other.
    """
    found: list[Any] = gc.get_referents(vars(kind))
    if _forget_looked_up is None or len(found) != 1 or type(found[0]) is not dict:
        return {}
    if all(each.value is not kind for each in _classes):
        _classes.append(ctypes.py_object(kind))
    names: dict[str, Any] = found[0]
    return names


def _outside(frame: FrameType) -> FrameType:
    while frame.f_globals is globals() and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _noting(asked: _Asked, original: Any) -> Any:
    @wraps(original)
    def noting(*args: Any, **kwargs: Any) -> Any:
        _meet(asked, sys._getframe(1))
        return original(*args, **kwargs)

    return noting


def _python_seed(original: Any) -> Any:
    @wraps(original)
    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        if a is None:
            a = _meet(_PYTHON, sys._getframe(1))
        elif type(a) is not int or not 0 <= a < SMALL:
            _meet_clock(a, sys._getframe(1))
        original(self, a, version)

    return seed


def _numpy_randbits(original: Any) -> Any:
    def randbits(k: int) -> int:
        seed = _meet(_NUMPY, sys._getframe(1))
        if seed is None:
            return int(original(k))
        return sum(derive_seed(seed, word) << 64 * word for word in range(k // 64 + 1)) & ((1 << k) - 1)

    return randbits


def _seeding(original: Any) -> Any:
    @wraps(original)
    def seeding(*args: Any) -> Any:
        seed = args[-1]
        if type(seed) is not int or not 0 <= seed < SMALL:
            caller = _outside(sys._getframe(1))  # NumPy calls it again for each number of a list
            if caller.f_globals.get("__name__") != "torch.random":  # torch.manual_seed, of which it is told before
                _meet_clock(seed, caller)
        return original(*args)

    return seeding


def _standing_for(make: Callable[..., Any], genuine: Any) -> Any:
    """Return a class that makes instances of the genuine one, and has all of them."""

    class Watching(type(genuine)):  # type: ignore[misc]
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            if cls is not watching:  # a class of the user's
                return super().__call__(*args, **kwargs)
            return make(sys._getframe(1), genuine, *args, **kwargs)

        def __instancecheck__(cls, one: Any) -> bool:
            return isinstance(one, genuine) if cls is watching else super().__instancecheck__(one)

        def __subclasscheck__(cls, one: Any) -> bool:
            return issubclass(one, genuine) if cls is watching else super().__subclasscheck__(one)

    names = {"__module__": genuine.__module__.rpartition(".")[0], "__doc__": genuine.__doc__}  # where it stands
    watching: Any = Watching(genuine.__name__, (genuine,), names)
    return watching


def _numpy_generator(frame: FrameType, genuine: Any, *args: Any, **kwargs: Any) -> Any:
    """Make one that takes a seed, or a key."""
    if not _is_unseeded(*args, **kwargs):
        _meet_clock(next(iter((*args, *kwargs.values()))), frame)
    elif (seed := _meet(_NUMPY, frame)) is not None:
        args, kwargs = (numpy_seed(seed), *args[1:]), {name: kwargs[name] for name in kwargs if name != "seed"}
    return genuine(*args, **kwargs)


def _is_unseeded(seed: Any = None, counter: Any = None, key: Any = None) -> bool:
    return seed is None and key is None


def _numpy_twister(frame: FrameType, genuine: Any, *args: Any, **kwargs: Any) -> Any:
    """Make the MT19937 of a RandomState, which may be given a seed afterwards: nobody knows."""
    policy = in_effect
    if policy is None or policy.mode != "seed":
        return genuine(*args, **kwargs)
    origin = origin_of(_outside(frame))  # also of a class that was derived from one of these
    return genuine(*args, **kwargs) if origin is None else genuine(numpy_seed(policy.next_seed(origin)))


def _torch_generator(frame: FrameType, genuine: Any, *args: Any, **kwargs: Any) -> Any:
    """Make one, and remember it: what it is seeded with, if with anything, comes afterwards."""
    generator = genuine(*args, **kwargs)
    if in_effect is not None:
        in_effect.remember(generator, frame)
    return generator


def _meet_clock(seed: Any, frame: FrameType) -> None:
    if is_clock(seed, frame):
        _meet(_CLOCK, frame)


def _meet(asked: _Asked, frame: FrameType) -> int | None:
    """Note who asks for entropy, and do what the policy says; return the seed to take instead, if any."""
    policy = in_effect
    origin = None if policy is None else origin_of(frame, may_name=asked.may_name)
    if policy is None or origin is None:
        return None
    what, by = origin.through or asked.what, (f"by: {origin.by}()",) if origin.by else ()
    is_seeded = policy.mode == "seed" and asked.is_seedable
    is_new = policy.note(Caught(origin.place, what, origin.by, is_seeded))
    if is_seeded:
        return policy.next_seed(origin)
    has_run = launch.innermost_entry() is not None or launch.launched() is None
    remedy = asked.remedy if has_run or "run." not in asked.remedy else asked.remedy + _NO_RUN
    text = explain("random numbers that no seed decides", (f"at: {origin.place}", *by, f"from: {what}"), remedy)
    if policy.mode == "raise":
        raise EntropyError(text)
    if is_new:
        names, user = origin.user.f_globals, origin.user
        registry = names.setdefault("__warningregistry__", {})
        file, line = user.f_code.co_filename, user.f_lineno
        warnings.warn_explicit(text, NondeterminismWarning, file, line, names.get("__name__"), registry)
    return None


def _before_seeding(generator: str, seed: Any, caller: FrameType) -> Any:
    """See `ground.entropy`: the functions that seed globally are watched already, for reports and traces."""
    if seed is None and generator != "torch":
        found = _meet(_GLOBALLY._replace(what=_GLOBALLY.what.format(generator.removeprefix("python."))), caller)
        return numpy_seed(found) if found is not None and generator == "numpy.random" else found
    _meet_clock(seed, caller)
    return None


_ROWS: dict[str, list[tuple[str, str, Callable[[Any], Any]]]] = {
    "os": [("os", "urandom", partial(_noting, _Asked("os.urandom()", _NAMED, may_name=True)))],
    "random": [
        # A name of its own for the same, which SystemRandom and secrets draw from.
        ("random", "_urandom", partial(_noting, _Asked("random.SystemRandom", _NAMED, may_name=True))),
        ("random:_inst", "seed", _python_seed),
    ],
    "uuid": [("uuid", "uuid1", partial(_noting, _Asked("uuid.uuid1()", _NAMED, may_name=True)))],
    "numpy.random": [
        ("numpy.random.bit_generator", "randbits", _numpy_randbits),
        ("numpy.random.bit_generator", "_coerce_to_uint32_array", _seeding),  # each seed but those of RandomState
        # Both make an unseeded generator also where they are given a seed or a key, and only then take that.
        # In the modules that define them they stay, where pickle looks for them.
        ("numpy.random", "RandomState", partial(_standing_for, _numpy_generator)),
        ("numpy.random", "Philox", partial(_standing_for, _numpy_generator)),
        ("numpy.random.mtrand", "_MT19937", partial(_standing_for, _numpy_twister)),  # of any RandomState, bound before
    ],
    "torch": [
        ("torch:default_generator", "seed", partial(_noting, _TORCH)),
        ("torch:default_generator", "manual_seed", _seeding),
        ("torch", "Generator", partial(_standing_for, _torch_generator)),
    ],
}
MODULES = (*_ROWS,)
