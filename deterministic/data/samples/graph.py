"""The generators that an object holds, wherever in its graph they are, each with a path that every process gives it."""

from __future__ import annotations

import dis
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import BuiltinMethodType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from ...sources.own_generators import GLOBAL, KINDS

_DEPTH, _WIDTH, _MOST, _WATCHED = 10, 100, 20_000, 500
"""How deep it is looked, at how many entries of a container (one with more holds data), and at how many objects in all
(some 100 ms); and how many of those are watched for new attributes."""

_PLAIN = (str, bytes, bytearray, int, float, complex, torch.Tensor, np.ndarray, np.generic, ModuleType, type, CodeType)
_OPAQUE = {"PIL", "deterministic", "h5py", "logging", "numpy", "pandas", "polars", "pyarrow", "threading", "weakref"}
"""Packages whose objects are data, or locks, or loaders with keys of their own."""
_FOREIGN = {"torch", *_OPAQUE, *sys.stdlib_module_names} - {"__main__"}
"""Packages whose classes hold nothing for those who derive from them; what their objects hold is looked at."""
_LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"))
_PARTS: dict[type, tuple[str, ...]] = {
    partial: ("func", "args", "keywords"),
    MethodType: ("__self__", "__func__"),
    BuiltinMethodType: ("__self__",),
    FunctionType: ("__defaults__", "__kwdefaults__"),
    property: ("fget",),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
}
"""What else than attributes the objects of Python's own kinds hold."""


class Link(NamedTuple):
    """How one object is reached from another: `get()`, which now is `value`; no `get`: it stays what it is."""

    get: Callable[[], Any] | None
    value: Any

    def now(self) -> Any:
        """Return what is there now; None: nothing is."""
        try:
            return self.value if self.get is None else self.get()
        except (AttributeError, LookupError, ValueError):
            return None

    def holds(self) -> bool:
        """Return whether what was there still is."""
        return self.now() is self.value


class _Visit(NamedTuple):
    path: str
    link: Link
    parent: _Visit | None


class Graph:
    """One look at everything that can be reached from `root`. Calls nothing of anybody's: no property, no `__repr__`.

    Breadth first, and each level in the order of its paths, so that a path does not depend on which attribute was set
    first. What has two paths has the shorter one.

    Attributes:
        found: Each generator once: its path, and the link that leads to it.
        links: The other links on the way to them, and those of their other paths, that may lead elsewhere later.
        watched: Dictionaries of attributes, where one may be made later: how many each had, and which were None.
    """

    def __init__(self, root: Any, name: str) -> None:
        self.found: list[tuple[str, Link]] = []
        self.watched: list[tuple[dict[str, Any], int, list[str]]] = []
        self._seen: dict[int, Any] = {}  # and with it alive, so that no address is used twice
        level, others, ways = [_Visit(name, Link(None, root), None)], list[Link](), dict[int, Link]()
        for _ in range(_DEPTH):
            following: list[_Visit] = []
            for visit in sorted(level, key=lambda one: one.path):
                value, kind, parent = visit.link.value, type(visit.link.value), visit.parent
                is_new = self._seen.setdefault(id(value), visit) is visit
                if not issubclass(kind, KINDS):
                    if is_new and len(self._seen) < _MOST:
                        inside = self._inside(visit.path, value, kind)
                        following += (_Visit(path, Link(get, one), visit) for path, get, one in inside if _leads(one))
                elif not issubclass(kind, random.SystemRandom) and all(value is not one for one in GLOBAL):
                    if is_new:
                        self.found.append((visit.path, visit.link))
                    else:
                        others.append(visit.link)
                    while parent is not None and id(parent) not in ways:
                        ways[id(parent)], parent = parent.link, parent.parent
            level = following
        self.links = [link for link in (*others, *ways.values()) if link.get is not None]

    def _inside(self, path: str, value: Any, kind: type) -> Iterator[tuple[Any, ...]]:
        """Yield what an object holds: the path, and the two parts of the link."""
        if kind.__module__.partition(".")[0] in _OPAQUE:
            return
        if issubclass(kind, (list, tuple)):
            base: Any = list if issubclass(kind, list) else tuple
            gets = (partial(base.__getitem__, value, at) for at in range(min(base.__len__(value), _WIDTH)))
            yield from ((f"{path}[{at}]", get, get()) for at, get in enumerate(gets))
        elif issubclass(kind, dict):
            for at, (key, one) in enumerate(list(dict.items(value))[:_WIDTH]):
                if type(key) in (str, int, bool):
                    yield f"{path}[{key!r}]", partial(dict.get, value, key), one
                else:  # whose __hash__ and __repr__ are somebody else's
                    yield f"{path}[key {at}]", None, one
        elif issubclass(kind, (set, frozenset, deque)) and len(value) <= _WIDTH:
            # The order of a set is another in every process: what it holds has one path, and so one key.
            yield from ((f"{path}{{}}", None, one) for one in list(value))
        for name in next((_PARTS[base] for base in kind.__mro__ if base in _PARTS), ()):
            yield f"{path}.{name}", None, getattr(value, name)
        if kind is FunctionType:
            yield from _in_function(path, value)
        with suppress(AttributeError):  # there is none
            own = object.__getattribute__(value, "__dict__")
            if type(own) is dict:
                if len(self.watched) < _WATCHED:
                    self.watched.append((own, len(own), [name for name, one in own.items() if one is None]))
                yield from ((f"{path}.{name}", partial(own.get, name), one) for name, one in list(own.items()))
        for base in kind.__mro__:
            if base.__module__.partition(".")[0] not in _FOREIGN:
                where = f"{_module(base.__module__)}.{base.__qualname__}"
                yield from self._in_class(path, where, value, base, vars(base))

    def _in_class(self, path: str, where: str, value: Any, base: type, shared: Any) -> Iterator[tuple[Any, ...]]:
        """Yield what stands in the slots of an object, and once what its class has for all objects."""
        is_new = self._seen.setdefault(id(base), base) is base
        for name, one in list(shared.items()):
            if type(one) is MemberDescriptorType:
                with suppress(AttributeError):  # an empty slot
                    yield f"{path}.{name}", (get := partial(one.__get__, value)), get()
            elif is_new:
                yield f"{where}.{name}", partial(shared.get, name), one


def _leads(value: Any) -> bool:
    """Return whether there may be a generator in a value."""
    return value is not None and not issubclass(type(value), _PLAIN)


def _in_function(path: str, function: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what a function holds in its closure, and the globals that it loads."""
    code, scope = function.__code__, function.__globals__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # an empty cell
            yield f"{path}.<{name}>", (get := partial(getattr, cell, "cell_contents")), get()
    # Only what the user wrote is followed from global to global: a library's code leads to all of that library.
    wanted = KINDS if any(part in code.co_filename for part in _LIBRARIES) else object
    held = {name: one for name in _names(code) if issubclass(type(one := scope.get(name)), wanted) and _leads(one)}
    loaded = _names(code, loaded=True) if held else ()
    where = _module(scope.get("__name__"))
    yield from ((f"{where}.{name}", partial(scope.get, name), one) for name, one in held.items() if name in loaded)


def _names(code: CodeType, *, loaded: bool = False) -> set[str]:
    """Return the names in a function and those in it; only those `loaded` as globals, or of attributes, too."""
    nested = (_names(one, loaded=loaded) for one in code.co_consts if type(one) is CodeType)
    steps = dis.get_instructions(code) if loaded else ()
    own = (step.argval for step in steps if step.opname == "LOAD_GLOBAL") if loaded else code.co_names
    return set(own).union(*nested)


def _module(name: Any) -> str:
    """Return the name of a module; that of the script is another one in a process that was spawned."""
    return "__main__" if name == "__mp_main__" else str(name)
