"""The generators that an object holds, wherever in its graph they are, each with a path that every process gives it."""

from __future__ import annotations

import dis
import gc
import os
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice, pairwise
from types import (
    BuiltinMethodType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple

import numpy as np
import torch

from ...sources.own_generators import GLOBAL, KINDS

_DEPTH, _WIDTH, _MOST, _WATCHED = 10, 100, 20_000, 1000
"""How deep it is looked, into containers of how many entries (one with more holds data), and at how many objects in all
(0.2 to 0.4 s); and how many places are watched where a generator may appear."""
_PROCESS, _ADDRESS = 1000, 2**16
"""From which number on a key that is this process's is taken for that, beside others; and any key for an address."""

_PLAIN = (str, bytes, bytearray, int, float, complex, torch.Tensor, np.ndarray, np.generic, ModuleType, type, CodeType)
_SIMPLE = {type(None), bool, *_PLAIN[:6]}
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
_CONTAINERS: tuple[Any, ...] = (list, tuple, dict, set, frozenset, deque)


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
        """Return whether what was there still is; of a size, whether it is equal."""
        now = self.now()
        return now is self.value or (type(now) is type(self.value) is int and now == self.value)


class _Visit(NamedTuple):
    path: str
    link: Link
    parent: _Visit | None


class Graph:
    """One look at everything that can be reached from `root`. Calls nothing of anybody's: no property, no `__repr__`.

    Breadth first, and each level in the order of its paths, so that a path does not depend on which attribute was set
    first. What has two paths has the shorter one.
    """

    def __init__(self, root: Any, name: str) -> None:
        self.found: list[tuple[str, Link]] = []  # each generator once: its path, and the link that leads to it
        # Where one may appear later: sizes of dictionaries and containers, and places where nothing is.
        self.watched: list[Link] = []
        self._seen: dict[int, Any] = {}  # and with it alive, so that no address is used twice
        level, others, ways, room = [_Visit(name, Link(None, root), None)], list[Link](), dict[int, Link](), _MOST
        for _ in range(_DEPTH):
            following: list[_Visit] = []
            for visit in sorted(level, key=lambda one: one.path):
                value, kind, parent = visit.link.value, type(visit.link.value), visit.parent
                is_new = self._seen.setdefault(id(value), visit) is visit
                if not issubclass(kind, KINDS):
                    if is_new and room > 0:
                        inside = self._leading(visit, value, kind)
                        if len(inside) > room:
                            inside.sort(key=lambda one: one.path)
                        following += inside[:room]
                        room -= len(inside)
                elif not issubclass(kind, random.SystemRandom) and all(value is not one for one in GLOBAL):
                    if is_new:
                        self.found.append((visit.path, visit.link))
                    else:
                        others.append(visit.link)
                    while parent is not None and id(parent) not in ways:
                        ways[id(parent)], parent = parent.link, parent.parent
            level = following
        # The other links on the way to them, and those of their other paths, that may lead elsewhere later.
        self.links = [link for link in (*others, *ways.values()) if link.get is not None]

    def _leading(self, visit: _Visit, value: Any, kind: type) -> list[_Visit]:
        """Return what an object holds that may lead to generators, and watch where nothing is."""
        leading = []
        for path, get, one in self._inside(visit.path, value, kind):
            if one is None and get is not None:
                self._watch(Link(get, None))
            elif _leads(one):
                leading.append(_Visit(path, Link(get, one), visit))
        return leading

    def _watch(self, link: Link) -> None:
        if len(self.watched) < _WATCHED:
            self.watched.append(link)

    def _inside(self, path: str, value: Any, kind: type) -> Iterator[tuple[Any, ...]]:
        """Yield what an object holds: the path, and the two parts of the link."""
        if _package(kind.__module__) in _OPAQUE:
            return
        base = next((one for one in _CONTAINERS if issubclass(kind, one)), None)
        if base is not None:
            if (size := base.__len__(value)) <= _WIDTH and base not in (tuple, frozenset):
                self._watch(Link(partial(base.__len__, value), size))
            yield from _in_container(path, value, base, size)
            if kind is base:  # it has no attributes
                return
        if kind is MappingProxyType:
            yield path, None, gc.get_referents(value)[0]
        for name in next((_PARTS[base] for base in kind.__mro__ if base in _PARTS), ()):
            yield f"{path}.{name}", None, getattr(value, name)
        if kind is FunctionType:
            yield from _in_function(path, value)
        with suppress(AttributeError):  # there is none
            own = object.__getattribute__(value, "__dict__")
            if type(own) is dict:
                self._watch(Link(partial(len, own), len(own)))
                yield from ((f"{path}.{name}", partial(own.get, name), one) for name, one in list(own.items()))
        for base in kind.__mro__:
            if _package(base.__module__) not in _FOREIGN:
                where = f"{_module(base.__module__)}.{base.__qualname__}"
                yield from self._in_class(path, where, value, base, vars(base))

    def _in_class(self, path: str, where: str, value: Any, base: type, shared: Any) -> Iterator[tuple[Any, ...]]:
        """Yield what stands in the slots of an object, and once what its class has for all objects."""
        is_new = self._seen.setdefault(id(base), base) is base
        for name, one in list(shared.items()):
            if type(one) is MemberDescriptorType:
                yield f"{path}.{name}", (get := partial(one.__get__, value)), Link(get, None).now()
            elif is_new:
                yield f"{where}.{name}", partial(shared.get, name), one


def _in_container(path: str, value: Any, base: Any, size: int) -> Iterator[tuple[Any, ...]]:
    """Yield the entries of a container, unless it is one of data."""

    def entries(most: int) -> list[tuple[Any, Any]]:
        return list(islice(dict.items(value) if base is dict else enumerate(base.__iter__(value)), most))

    if size > _WIDTH and not any(isinstance(one, KINDS) for _, one in entries(1)):
        return
    for at, (key, one) in enumerate(entries(_MOST)):
        if base in (list, tuple):
            yield f"{path}[{at}]", partial(base.__getitem__, value, at), one
        elif base is not dict:
            # The order of a set is another in every process: what it holds has one path, and so one key.
            yield f"{path}{{}}", None, one
        elif type(key) is int and key == os.getpid() and (size == 1 or key >= _PROCESS):
            yield f"{path}[os.getpid()]", partial(dict.get, value, key), one
        elif type(key) in (str, bool) or (type(key) is int and key < _ADDRESS):
            yield f"{path}[{key!r}]", partial(dict.get, value, key), one
        else:  # whose __hash__ and __repr__ are somebody else's; or an address, or another process
            yield f"{path}[key {at}]", partial(_value_at, value, at) if size <= _WIDTH else None, one


def _value_at(mapping: dict[Any, Any], at: int) -> Any:
    return next(islice(dict.values(mapping), at, None), None)


def _leads(value: Any) -> bool:
    """Return whether there may be a generator in a value."""
    kind = type(value)
    return kind not in _SIMPLE and not issubclass(kind, _PLAIN)


def _in_function(path: str, function: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what a function holds in its closure, the globals that it loads, and what it asks of a user's module."""
    code, scope = function.__code__, function.__globals__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        yield f"{path}.<{name}>", (get := partial(getattr, cell, "cell_contents")), Link(get, None).now()
    # Only what the user wrote is followed from global to global: a library's code leads to all of that library.
    is_library = _is_library(code.co_filename)
    wanted = KINDS if is_library else object
    held = {
        name
        for name in _names(code)
        if name in scope and issubclass(type(one := scope[name]), wanted)
        if one is None or _leads(one) or _is_users(one)
    }
    loads = {(name, asked) for name, asked in _loads(code) if name in held} if held else set[tuple[str, str]]()
    for name, asked in sorted({(name, asked if isinstance(scope[name], ModuleType) else "") for name, asked in loads}):
        inside, wanted_name = (scope[name].__dict__, asked) if asked else (scope, name)
        get = partial(inside.get, wanted_name)
        yield f"{_module(inside.get('__name__'))}.{wanted_name}", get, get()


def _is_library(file: str) -> bool:
    return any(part in file for part in _LIBRARIES)


def _is_users(module: Any) -> bool:
    if type(module) is not ModuleType:
        return False
    file = module.__dict__.get("__file__")
    return type(file) is str and not _is_library(file) and _package(module.__dict__.get("__name__")) not in _FOREIGN


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(one) for one in code.co_consts if type(one) is CodeType))


def _loads(code: CodeType) -> set[tuple[str, str]]:
    """Return the globals that a function and those in it load, each with the attribute that is asked of it at once."""
    nested = (_loads(one) for one in code.co_consts if type(one) is CodeType)
    own = {
        (step.argval, after.argval if after.opname in ("LOAD_ATTR", "LOAD_METHOD") else "")
        for step, after in pairwise(dis.get_instructions(code))
        if step.opname == "LOAD_GLOBAL"
    }
    return own.union(*nested)


def _package(module: Any) -> str:
    return module.partition(".")[0] if type(module) is str else ""


def _module(name: Any) -> str:
    """Return the name of a module; that of the script is another one in a process that was spawned."""
    return "__main__" if name == "__mp_main__" else name if type(name) is str else "?"
