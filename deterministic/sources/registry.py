"""Sources of the user's own; and what is in effect now: what all sources say, the versions and the hardware."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import numpy
import torch

from ..errors import DeterministicError, explain
from ..ground.source import JSON, Source
from . import SOURCES
from .conformance import check_source


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
            explain(
                "a source of this name is registered already",
                (f"found: {source.name!r}", f"known: {', '.join(known.name for known in SOURCES)}"),
                "Give it another name, or do not register it twice.",
            )
        )
    first_generator = next(place for place, known in enumerate(SOURCES) if known.kind == "rng")
    SOURCES.insert(first_generator if source.kind == "setting" else len(SOURCES), source)


def describe() -> dict[str, dict[str, JSON]]:
    """Return what is in effect now, by source: flags by value, generators by a digest of their state.

    Reads every source and changes none. JSON throughout, to be pasted into an issue. Safe to call at any time; not
    atomic against other threads.

    Returns:
        For each source of `deterministic.sources.SOURCES`, by its name, its values.

    Example:
        >>> describe()["torch.cudnn"]["deterministic"]
        False
    """
    return _said_by(SOURCES)


def in_effect() -> dict[str, Mapping[str, Any]]:
    """Return what bits depend on beside the states of generators: the versions and the hardware, every setting."""
    return {"versions": versions(), "settings": _said_by(source for source in SOURCES if source.kind == "setting")}


def versions() -> dict[str, JSON]:
    """Return the versions and the hardware that bits depend on. Initialises no device."""
    device: str = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_initialized():
        device = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    try:
        own = metadata.version("deterministic")
    except metadata.PackageNotFoundError:  # a checkout on sys.path, not installed
        own = "unknown"
    return {
        "deterministic": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_initialized() else None,
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": device,
        "num_threads": torch.get_num_threads(),
    }


def _said_by(sources: Iterable[Source]) -> dict[str, dict[str, JSON]]:
    return {source.name: dict(source.describe(source.capture())) for source in sources}
