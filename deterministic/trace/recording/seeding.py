"""Which recorders are at work; and who seeds the process's generators meanwhile, or while a scope is open.

And who iterates a plain DataLoader, which moves them.

Importing it does not import torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
from types import MethodType
from typing import Any, NamedTuple, Protocol

from ...ground import entropy


class Active(Protocol):
    """What scopes and loaders know of a recorder that is at work."""

    seeded: list[Seeding]

    def observe(self, name: str, value: Any) -> None: ...

    def batch(self, epoch: int, start: int, number: int, batch: Any) -> None: ...

    def stop(self) -> None: ...


ACTIVE: list[Active] = []  # the recorders that are at work, the innermost last

HOLDERS: list[Sequence[Any]] = [ACTIVE]
"""What is open: each has a list `seeded` for notes. The stack adds its entries, which note DataLoaders, too."""

MOST = 64  # notes that each holds: the first ones, for the first seed that differs is the one to know

_LONGEST_SEED = 40
_NAMES = (
    # What torch.manual_seed and torch.seed call: dynamo, TorchScript and pickle know those two by their identity.
    ("torch", "torch.cuda", "manual_seed_all"),
    ("numpy.random", "numpy.random", "seed"),
    ("python.random", "random", "seed"),
)

_calls: dict[str, tuple[Any, str, Callable[..., Any], Callable[..., Any]]] = {}
"""What is watched, as it was found first: module or class, name, function, and what stands there meanwhile."""

_is_watching = False


class Seeding(NamedTuple):
    """One call: which generator, the seed as text ("None" for the system's entropy), and the user's line."""

    generator: str
    seed: str
    place: str


def watch(*, again: bool = False) -> None:
    """Watch the functions that seed, if something is open; else put them back, where nobody put others since.

    Call it whenever something was opened or closed: what it does depends on nothing else, so that no order matters;
    and `again` when a module has been imported meanwhile, where it may have begun before that.
    Of numpy and Python, what the user has bound to a name of their own is not watched. Compiled code that seeds numpy
    has a graph break there: dynamo knows numpy's functions by their identity. Python's it knows by their generator
    since torch 2.14, so what stands there is a method of it, too; what dynamo then makes of the call is not noted.
    """
    global _is_watching
    is_open = any(HOLDERS) or entropy.before_seeding is not None
    if is_open == _is_watching and not again:
        return
    _is_watching = True  # after an interrupt from here on the last call finishes what there is
    for generator, path, name in _NAMES if len(_calls) <= len(_NAMES) else ():
        found = getattr(sys.modules.get(path), name, None)
        if found is not None and path not in _calls and (path != "random" or isinstance(found, MethodType)):
            _calls[path] = (sys.modules[path], name, *_pair(path, name, generator))  # and no script's own random.py
    loaders = getattr(sys.modules.get("torch.utils.data"), "DataLoader", None)
    if loaders is not None and "DataLoader" not in _calls:
        _calls["DataLoader"] = _iteration(loaders)
    for module, name, original, noting in [*_calls.values()]:
        before, after = (original, noting) if is_open else (noting, original)
        if module.__dict__.get(name) is before:
            setattr(module, name, after)
    _is_watching = is_open


def _pair(path: str, name: str, generator: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a function, and one that calls it and notes that it did."""
    original: Any = getattr(sys.modules[path], name)
    is_method = isinstance(original, MethodType)
    function = original.__func__ if is_method else original

    @wraps(function)
    def seed(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        is_ours = _is_ours(caller.f_globals.get("__name__"))
        if entropy.before_seeding is not None and not is_ours:
            given = next(iter([*args[is_method:], *kwargs.values()]), None)
            instead = entropy.before_seeding(generator, given, caller)
            if instead is not None:
                args, kwargs = (*args[:is_method], instead), {}
        result = function(*args, **kwargs)
        holders = [holder for opened in HOLDERS for holder in opened if len(holder.seeded) < MOST]
        if holders and not is_ours:
            value = next(iter([*args[is_method:], *kwargs.values(), result]))
            note = Seeding(generator, str(value)[:_LONGEST_SEED], _users_line())
            for holder in holders:
                holder.seeded.append(note)
        return result

    seed.__module__, seed.__qualname__ = path, name  # where pickle finds it, also in another process
    return original, MethodType(seed, original.__self__) if is_method else seed


def _iteration(loaders: Any) -> tuple[Any, str, Callable[..., Any], Callable[..., Any]]:
    """Return the same of the iteration of a DataLoader; one that has our workers' seeds is not noted."""
    original = loaders.__iter__

    @wraps(original)
    def iterate(self: Any) -> Any:
        modules = (type(self).__module__, getattr(self.worker_init_fn, "__module__", None))
        if not any(map(_is_ours, (*modules, sys._getframe(1).f_globals.get("__name__")))):
            place = _users_line()
            for holder in [holder for opened in HOLDERS for holder in opened]:
                getattr(holder, "plain_loaders", {})[place] = None
            context = self.multiprocessing_context or sys.modules["multiprocessing"]
            if entropy.before_seeding is not None and self.num_workers and context.get_start_method() != "fork":
                from ...ground.watching import in_effect

                users = self.worker_init_fn
                self.worker_init_fn = partial(_watching_worker, in_effect, users)
                try:
                    return original(self)
                finally:
                    self.worker_init_fn = users
        return original(self)

    return loaders, "__iter__", original, iterate


def _watching_worker(policy: Any, users: Callable[[int], object] | None, worker_id: int) -> None:
    """Begin to watch in a worker that inherits nothing, then do what its loader has it do."""
    from ...sources import ENTROPY

    ENTROPY.restore(policy)
    watch()
    if users is not None:
        users(worker_id)


def _is_ours(module: object) -> bool:
    return str(module).partition(".")[0] == __name__.partition(".")[0]


def _users_line() -> str:
    """Return the user's own line that led here, else that of the package that seeds."""
    from .places import Places

    places = Places(texts=False)
    lines = places.lines(places.here())
    own: str = next((line.place for line in lines.get("callers", ()) if line.is_own), lines.get("place", ""))
    return own
