"""Sources of the user's own, checked before they are registered; and what is in effect now, with the versions."""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy
import torch

from ..errors import DeterministicError, type_error
from ..ground.config import LEVELS, Config
from ..ground.installed import version_of
from ..ground.source import JSON, RngSource, Source
from . import SOURCES


def register_source(source: Source) -> None:
    """Add a source: every scope entered from now on saves, sets and restores it too.

    It is checked first (`deterministic.testing.check_source`) and left as it was found. Settings come before
    generators, in the order of registration. Not thread-safe against scopes being entered.

    Args:
        source: An object with the attributes and methods of `deterministic.sources.base.Source`; with kind "rng"
            also those of `RngSource`.

    Raises:
        TypeError: It lacks something.
        DeterministicError: It breaks the contract, or a source of its name is registered already.
    """
    check_source(source)
    if any(known.name == source.name for known in SOURCES):
        raise DeterministicError(
            "a source of this name is registered already",
            (f"found: {source.name!r}", f"known: {', '.join(known.name for known in SOURCES)}"),
            "Give it another name, or do not register it twice.",
        )
    first_generator = next(place for place, known in enumerate(SOURCES) if known.kind == "rng")
    SOURCES.insert(first_generator if source.kind == "setting" else len(SOURCES), source)


def describe() -> dict[str, dict[str, JSON]]:
    """Return what is in effect now, by source: flags by value, generators by a digest of their state.

    Reads every source and changes none. All of it is JSON, to paste into an issue. Safe to call at any time; not
    atomic against other threads.

    Returns:
        For each source of `deterministic.sources.SOURCES`, by its name, its values.

    Example:
        >>> describe()["torch.cudnn"]["deterministic"]
        False
    """
    return described()


def in_effect() -> dict[str, Mapping[str, Any]]:
    """Return what bits depend on beside the states of generators: the versions and the hardware, every setting."""
    return {"versions": versions(), "settings": described("setting")}


def versions() -> dict[str, JSON]:
    """Return the versions and the hardware that bits depend on. Initialises no device."""
    device: str = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_initialized():
        device = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    own, why = _version_of_this()
    return {
        "deterministic": own or (None if why else "unknown"),  # that of a checkout on sys.path, not installed
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_initialized() else None,
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": device,
        "num_threads": torch.get_num_threads(),
    }


@functools.cache
def _version_of_this() -> tuple[str | None, str]:
    """Return what `version_of` does: of what this process has imported, whatever is installed over it later."""
    return version_of("deterministic")


def described(kind: str | None = None) -> dict[str, dict[str, JSON]]:
    """Return what the sources of a kind, "rng" or "setting", are at, by name; None for all of them."""
    return {one.name: dict(one.describe(one.capture())) for one in SOURCES if kind in (None, one.kind)}


def check_source(source: Source) -> None:
    """Check that `source` keeps the contract of `Source`; it is left as it was found.

    Captures, applies every level with and without a seed, restores, and compares descriptions; for a generator also
    that equal seeds give equal states, that another seed does not, and that `encode` and `decode` are inverse.

    Args:
        source: The source to check.

    Raises:
        TypeError: It lacks a method or an attribute of `Source` (of `RngSource` where its kind is "rng").
        DeterministicError: It breaks the contract; the message says where.
    """
    _check_shape(source)
    initial = source.capture()
    before = _described(source, initial)
    try:
        _expect(source, "capture changes nothing", before, _described(source, source.capture()))
        seen = []
        for level in LEVELS:
            for seed in (None, 1, 2):
                applied = source.apply(Config(seed, level)) or ()
                seen.append((seed, _described(source, source.capture()), bool(applied and applied.values)))
                _expect(source, "a captured state does not change later", before, _described(source, initial))
                source.restore(initial)
                _expect(source, "restore gives back what was captured", before, _described(source, source.capture()))
        if source.kind == "rng":
            _check_seeding(source, seen)
            _check_encoding(source, initial)
        source.restore(initial)
        source.restore(initial)
        _expect(source, "restoring twice is the same", before, _described(source, source.capture()))
    finally:
        source.restore(initial)


def _check_shape(source: object) -> None:
    kind, made = getattr(source, "kind", None), type(source)
    protocol = RngSource if kind == "rng" else Source
    needed = ["name", "kind", "capture", "apply", "restore", "describe"]
    needed += ["encode", "decode"] if kind == "rng" else []
    missing = [name for name in needed if not hasattr(source, name)]
    if missing or kind not in ("rng", "setting"):
        values = (f"missing: {', '.join(missing) or 'nothing'}", f"kind: {kind!r}, expected 'rng' or 'setting'")
        remedy = "Write what is missing; deterministic.sources.base describes it."
        raise type_error(f"{made.__name__} is not a {protocol.__name__}", values, remedy)
    if getattr(made, "__hash__", None) is None:
        raise type_error(
            f"{made.__name__} cannot be hashed, and a scope keeps the states by source",
            ("found: __hash__ is None, as in a dataclass with eq=True",),
            "Leave __eq__ out, or make it a frozen dataclass.",
        )


def _check_seeding(source: Source, seen: list[tuple[int | None, Any, bool]]) -> None:
    one, other = ([text for used, text, _ in seen if used == seed] for seed in (1, 2))
    for seed, texts in ((1, one), (2, other)):
        _expect(source, f"seed {seed} gives one state", texts[0], *texts[1:])
    if any(sets for _, _, sets in seen) and one[0] == other[0]:
        raise DeterministicError(
            f"{source.name}: another seed gives the same state, so seeding does nothing",
            (f"seed 1: {one[0]}", f"seed 2: {other[0]}"),
            "Seed the generator in apply(), and let describe() show its state.",
        )


def _check_encoding(source: Source, state: Any) -> None:
    def text(plain: Any) -> str:
        return json.dumps(plain, sort_keys=True, default=lambda tensor: tensor.tolist())

    if isinstance(source, RngSource):
        plain = source.encode(state)
        _expect(source, "decode undoes encode", text(plain), text(source.encode(source.decode(plain))))


def _described(source: Source, state: Any) -> str:
    description = source.describe(state)
    try:
        return json.dumps(description, sort_keys=True)
    except TypeError as error:
        raise _broken(
            source,
            "describe returns JSON",
            (f"found: {description!r}", f"error: {error}"),
            "Return only None, bools, numbers, strings, lists and dicts.",
        ) from error


def _expect(source: Source, rule: str, expected: str, *texts: str) -> None:
    for text in texts:
        if text != expected:
            remedy = "Fix the source; deterministic.testing.check_source(source) runs this check."
            raise _broken(source, rule, (f"expected: {expected}", f"found: {text}"), remedy)


def _broken(source: Source, rule: str, values: tuple[str, ...], remedy: str) -> DeterministicError:
    return DeterministicError(f"{source.name} breaks a rule of every source: {rule}", values, remedy)
