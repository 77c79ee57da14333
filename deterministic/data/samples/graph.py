"""The generators that an object holds, wherever in its graph they are, each with a path that every process gives it."""

from __future__ import annotations

import dis
import functools
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import BuiltinMethodType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from .generators import GLOBAL, KINDS

_DEPTH = 10
_WIDTH = 100
"""How many entries of a container are looked at: one that has more holds data."""
_MOST = 20_000
"""How many objects are looked at: some 40 ms."""
_WATCHED = 500

_PLAIN = (str, bytes, bytearray, int, float, complex, torch.Tensor, np.ndarray, np.generic, ModuleType, type, CodeType)
_OPAQUE = {"PIL", "deterministic", "h5py", "logging", "numpy", "pandas", "polars", "pyarrow", "threading", "weakref"}
"""Packages whose objects are data, or locks, or loaders with keys of their own."""
_FOREIGN = {"torch", *_OPAQUE, *sys.stdlib_module_names} - {"__main__"}
"""Packages whose classes hold nothing for those who derive from them; what their objects hold is looked at."""
_LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"))


class Link(NamedTuple):
    """How one object is reached from another: `get(key)`, which now is `value`; no `get`: it stays what it is."""

    get: Callable[[Any], Any] | None
    key: Any
    value: Any

    def now(self) -> Any:
        """Return what is there now; None: nothing is."""
        try:
            return self.value if self.get is None else self.get(self.key)
        except (AttributeError, LookupError, ValueError):
            return None

    def holds(self) -> bool:
        """Return whether what was there still is."""
        return self.now() is self.value


class _Node(NamedTuple):
    path: str
    link: Link
    parent: _Node | None


class Walk:
    """One look at everything that can be reached from `root`. Calls nothing of anybody's: no property, no `__repr__`.

    Breadth first, and each level in the order of its paths, so that a path does not depend on which attribute was set
    first. What has two paths has the shorter one.

    Attributes:
        found: Each generator once: its path, and the link that leads to it.
        links: The other links on the way to them, and those of their other paths.
        empty: Attributes that are None, where a generator may be made later: the dictionary and the name.
        sizes: Dictionaries of attributes, and how many each had.
    """

    def __init__(self, root: Any, name: str) -> None:
        self.found: list[tuple[str, Link]] = []
        self.links: list[Link] = []
        self.empty: list[tuple[dict[str, Any], str]] = []
        self.sizes: list[tuple[dict[str, Any], int]] = []
        self._seen: dict[int, Any] = {}  # and with it alive, so that no address is used twice
        level = [_Node(name, Link(None, None, root), None)]
        on_the_way: dict[int, Link] = {}
        for _ in range(_DEPTH):
            following: list[_Node] = []
            for node in sorted(level, key=lambda one: one.path):
                value, kind = node.link.value, type(node.link.value)
                is_generator = issubclass(kind, KINDS) and kind is not random.SystemRandom
                is_new = self._seen.setdefault(id(value), node) is node
                if is_generator and all(value is not one for one in GLOBAL):
                    if is_new:
                        self.found.append((node.path, node.link))
                    else:
                        self.links.append(node.link)
                    parent = node.parent
                    while parent is not None and on_the_way.setdefault(id(parent), parent.link) is parent.link:
                        parent = parent.parent
                elif is_new and not is_generator and len(self._seen) < _MOST:
                    following += (
                        _Node(path, Link(*link), node)
                        for path, *link in self._inside(node.path, value, kind)
                        if _leads(link[-1])
                    )
            level = following
        self.links += on_the_way.values()

    def _inside(self, path: str, value: Any, kind: type) -> Iterator[tuple[Any, ...]]:
        """Yield what an object holds: the path, and the three parts of the link."""
        if kind.__module__.partition(".")[0] in _OPAQUE:
            return
        if issubclass(kind, (list, tuple)):
            base: Any = list if issubclass(kind, list) else tuple
            get = functools.partial(base.__getitem__, value)
            yield from ((f"{path}[{at}]", get, at, get(at)) for at in range(min(base.__len__(value), _WIDTH)))
        elif issubclass(kind, dict):
            named = list(dict.items(value))[:_WIDTH] if dict.__len__(value) else ()
            for at, (key, one) in enumerate(named):
                is_plain = type(key) in (str, int, bool)
                get = functools.partial(dict.get, value) if is_plain else None
                yield f"{path}[{key!r}]" if is_plain else f"{path}[key {at}]", get, key, one
        elif issubclass(kind, (set, frozenset, deque)) and len(value) <= _WIDTH:
            # The order of a set is another in every process: what it holds has one path, and so one key.
            yield from ((f"{path}{{}}", None, None, one) for one in list(value))
        elif issubclass(kind, functools.partial):
            yield from ((f"{path}.{name}", None, None, getattr(value, name)) for name in ("func", "args", "keywords"))
        elif issubclass(kind, (MethodType, BuiltinMethodType)):
            yield f"{path}.__self__", None, None, value.__self__
            if kind is MethodType:
                yield f"{path}.__func__", None, None, value.__func__
        elif issubclass(kind, FunctionType):
            yield from _in_function(path, value)
        elif issubclass(kind, (property, staticmethod, classmethod)):
            names = ("fget",) if issubclass(kind, property) else ("__func__",)
            yield from ((f"{path}.{name}", None, None, getattr(value, name)) for name in names)
        with suppress(AttributeError):  # there is none
            own = object.__getattribute__(value, "__dict__")
            if type(own) is dict:
                if len(self.sizes) < _WATCHED:
                    self.sizes.append((own, len(own)))
                    self.empty += ((own, name) for name, one in own.items() if one is None)
                yield from ((f"{path}.{name}", own.get, name, one) for name, one in list(own.items()))
        yield from self._in_classes(path, value, kind)

    def _in_classes(self, path: str, value: Any, kind: type) -> Iterator[tuple[Any, ...]]:
        """Yield what stands in the slots of an object, and once what its classes have for all objects."""
        for base in kind.__mro__:
            if base.__module__.partition(".")[0] in _FOREIGN or base is object:
                continue
            is_new = self._seen.setdefault(id(base), base) is base
            where = f"{_module(base.__module__)}.{base.__qualname__}"
            shared = vars(base)
            for name, one in list(shared.items()):
                if type(one) is MemberDescriptorType:
                    with suppress(AttributeError):  # an empty slot
                        yield f"{path}.{name}", functools.partial(_slot, one, value), None, one.__get__(value)
                elif is_new:
                    yield f"{where}.{name}", shared.get, name, one


def _slot(descriptor: Any, value: Any, _: Any) -> Any:
    return descriptor.__get__(value)


def _in_function(path: str, function: Any) -> Iterator[tuple[Any, ...]]:
    code: CodeType = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # an empty cell
            yield f"{path}.<{name}>", functools.partial(_cell, cell), None, cell.cell_contents
    yield f"{path}.<defaults>", None, None, function.__defaults__
    yield f"{path}.<defaults by name>", None, None, function.__kwdefaults__
    scope = function.__globals__
    # Only what the user wrote is followed from global to global: a library's code leads to all of that library.
    wanted = KINDS if any(part in code.co_filename for part in _LIBRARIES) else object
    held = {name: one for name in _names_of(code) if issubclass(type(one := scope.get(name)), wanted) and _leads(one)}
    if held:
        loaded = _globals_of(code)
        where = _module(scope.get("__name__"))
        yield from ((f"{where}.{name}", scope.get, name, one) for name, one in held.items() if name in loaded)


def _leads(value: Any) -> bool:
    """Return whether there may be a generator in a value."""
    return value is not None and not issubclass(type(value), _PLAIN)


def _names_of(code: CodeType) -> set[str]:
    nested = (one for one in code.co_consts if type(one) is CodeType)
    return set(code.co_names).union(*map(_names_of, nested))


@functools.lru_cache(maxsize=1024)
def _globals_of(code: CodeType) -> set[str]:
    """Return the names that a function loads as globals; `co_names` has those of attributes, too."""
    nested = (one for one in code.co_consts if type(one) is CodeType)
    loaded = (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    return set(loaded).union(*map(_globals_of, nested))


def _cell(cell: Any, _: Any) -> Any:
    return cell.cell_contents


def _module(name: Any) -> str:
    """Return the name of a module; that of the script is another one in a process that was spawned."""
    return "__main__" if name == "__mp_main__" else str(name)
