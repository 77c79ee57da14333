"""What outlives a test: `--reproducible-leaks` names it, and the settings of fixtures of several tests stay."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ..errors import explain
from ..ground import snapshot
from ..ground.source import RngSource
from ..scope import stack
from ..sources import SOURCES

if TYPE_CHECKING:
    from ..ground.snapshot import Snapshot
    from ..ground.source import Source
    from ..scope.entry import ScopeEntry, ScopeSite
    from ..scope.request import Scope

BLOCKS = 100_000  # how far a Mersenne Twister is followed, in blocks of 624 words: 62 million words, half a second

_WORDS = 624


class Watch:
    """Remembers every source and open scope at the beginning of a test, for its end.

    A setting counts if it has another value; a generator if it is at a place where drawing alone does not lead: it was
    seeded, or its state was set. That it has moved on is what generators are for; they count only if asked for.
    """

    def __init__(self, *, generators: bool) -> None:
        self._sources = [source for source in SOURCES if generators or source.kind == "setting"]
        self._before = snapshot.capture(self._sources)
        self._open = stack.entries()

    @contextmanager
    def accepting(self) -> Iterator[None]:
        """Take what a fixture of several tests changes for what the test began with: it is not the test's."""
        before = snapshot.capture(self._sources)
        yield
        for source, state in snapshot.capture(self._sources).items():
            if source.describe(state) != source.describe(before[source]):
                self._before[source] = state

    def end(self) -> str:
        """Give back what was left changed, so that the next test is not blamed, and say what it was; empty: nothing."""
        left_open = [entry for entry in stack.entries() if entry not in self._open]
        problems = [f"a scope is open: reproducible() at {entry.site}" for entry in left_open]
        for entry in reversed(left_open):
            stack.leave(entry)
        changed: Snapshot = {}
        for source, state in snapshot.capture(self._sources).items():
            if lines := _changes(source, self._before[source], state):
                changed[source] = self._before[source]
                problems += lines
        snapshot.restore(changed)
        if not problems:
            return ""
        return explain(
            "this test left generators or settings changed, or a scope open; they were put back",
            tuple(problems),
            "Change them inside of `with reproducible(...)`, or mark the test: @pytest.mark.reproducible.",
        )


def _changes(source: Source, before: Any, now: Any) -> list[str]:
    one, other = source.describe(before), source.describe(now)
    if source.kind == "rng":
        has_moved = one != other and not has_only_drawn(source, before, now)
        return [f"{source.name}: seeded, or its state was set"] if has_moved else []
    shown = [{name: repr(values[name]) for name in values} for values in (one, other)]
    pairs = {name: [values.get(name, "not there") for values in shown] for name in {**one, **other}}
    return [f"{source.name}.{name}: {first} -> {last}" for name, (first, last) in pairs.items() if first != last]


@contextmanager
def inside(scope: Scope, site: ScopeSite, around: ScopeEntry | None) -> Iterator[None]:
    """Set a fixture of several tests up in a scope of its own, and let what it set itself outlive that.

    The default dtype that it chose stays, and is given back by nobody but the fixture; the deterministic algorithms
    that the scope switched on for it do not stay. A fixture that seeds torch means the generators of the tests to come,
    so these stay as it left them. `around` is the scope of the test that is running already, if it asked for the
    fixture by name; what the fixture set is kept beyond its end too.
    """
    entry = scope.enter(site)
    settings = [source for source in entry.saved if source.kind == "setting"]
    applied = snapshot.capture(settings)
    seed = torch.default_generator.initial_seed()
    try:
        yield
    finally:
        now = snapshot.capture(settings)
        for outer in (entry, *([around] if around is not None and around.is_open else ())):
            for source in outer.saved.keys() & applied.keys():
                state = merged(outer.saved[source], applied[source], now[source])
                outer.saved = {**outer.saved, source: state}
        if around is None and torch.default_generator.initial_seed() != seed:
            generators = [source for source in entry.saved if source.kind == "rng"]
            entry.saved = {**entry.saved, **snapshot.capture(generators)}
        stack.leave(entry)


_ABSENT = object()


def merged(before: Any, applied: Any, now: Any) -> Any:
    """Return a state of a source with what was changed since it was applied, and everything else as it was before."""
    if not isinstance(now, (dict, list, tuple)):
        return before if applied == now else now
    if type(applied) is not type(now) or type(before) is not type(now):
        return before  # a module was imported meanwhile; its own defaults are what `before` stands for
    if isinstance(before, dict) and isinstance(applied, dict) and isinstance(now, dict):
        states = {
            key: before if applied.get(key, _ABSENT) == now.get(key, _ABSENT) else now for key in {**before, **now}
        }
        return {key: state[key] for key, state in states.items() if key in state}
    if not len(before) == len(applied) == len(now):
        return now
    parts = [merged(*part) for part in zip(before, applied, now, strict=True)]
    return parts if isinstance(now, list) else getattr(type(now), "_make", tuple)(parts)


# Whether a generator has moved on by drawing, or was put somewhere else.


def has_only_drawn(source: Source, before: Any, now: Any) -> bool:
    """Return whether drawing leads from one state to the other.

    The twisters of Python and numpy are followed: from where they were, they are drawn from until they are where they
    are now. torch's generators keep the seed that they were given; seeded with the same one again they look drawn
    from. Of a source of the user's it is not known, and taken to be so.
    """
    if source.name == "python.random":
        (_, one, _), (_, other, _) = (cast("RngSource", source).encode(state) for state in (before, now))
        return _leads_to((one[:-1], one[-1]), (other[:-1], other[-1]))
    if source.name == "numpy.random":
        one, other = (cast("RngSource", source).encode(state) for state in (before, now))
        if one["bit_generator"] != other["bit_generator"]:
            return False
        if one["bit_generator"] != "MT19937":
            return True
        return _leads_to(*((plain["state"]["key"], plain["state"]["pos"]) for plain in (one, other)))
    return not source.name.startswith("torch.") or _is_same_seed(before, now)


def _leads_to(before: tuple[list[int], int], now: tuple[list[int], int]) -> bool:
    (key, position), (wanted, end) = before, now
    if key == wanted:
        return position <= end
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": np.array(key, np.uint32), "pos": position}}
    twister.random_raw(_WORDS - position + 1, output=False)  # the first word of the next block makes that block
    # Reading the state in its Python form takes longer than drawing a block; its place and layout are numpy's own
    # (bit_generator.ctypes), and sources/numpy_random.py tells whether they hold.
    address, target = twister.ctypes.state_address, np.array(wanted, np.uint32).tobytes()
    for _ in range(BLOCKS):
        if ctypes.string_at(address, len(target)) == target:
            return True
        twister.random_raw(_WORDS, output=False)
    return False


def _is_same_seed(before: Any, now: Any) -> bool:
    if isinstance(before, torch.Tensor) and isinstance(now, torch.Tensor):
        return _seed_in(before) == _seed_in(now)
    devices = (tuple(before), tuple(now)) if type(before) is tuple and type(now) is tuple else None
    if devices is not None and all(isinstance(state, torch.Tensor) for states in devices for state in states):
        return all(_first_word(one) == _first_word(other) for one, other in zip(*devices, strict=True))
    # Before its first use a device has nothing but seeds that wait for it; initialising it is no change of them.
    return type(before) is not type(now)


def _seed_in(state: torch.Tensor) -> int:
    generator = torch.Generator()
    generator.set_state(state)
    return generator.initial_seed()


def _first_word(state: torch.Tensor) -> bytes:
    """Return where a device's generator (Philox) keeps its seed; the offset stands after it."""
    return state.cpu()[:8].numpy().tobytes()
