"""Which packages are installed, also where `sys.path` has what is no text, or a package's metadata is broken."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any


def distributions(**sought: Any) -> Iterable[metadata.Distribution]:
    """Return the distributions that are found, of one name if that is given.

    As `import` does, this passes over what is no text in `sys.path`, at which `importlib.metadata` raises.
    """
    return metadata.distributions(path=[each for each in sys.path if isinstance(each, str)], **sought)


def version_of(name: str) -> tuple[str | None, str]:
    """Return the version of a package; if there is none, None and why: empty if the package is not installed."""
    try:
        found = next(iter(distributions(name=name)), None)
        version = None if found is None else entry_of(found, "Version")
    except Exception as error:  # noqa: BLE001 - what is in others' metadata can raise anything
        return None, unreadable(error)
    return (version, "") if found is None or isinstance(version, str) else (None, "its metadata has no version")


def entry_of(distribution: metadata.Distribution, name: str) -> str | None:
    """Return an entry of a package's metadata; None, which Python warns of from 3.12 on, if there is none."""
    entries = distribution.metadata
    return entries[name] if name in entries else None  # noqa: SIM401 - its type before 3.12 has no get


def unreadable(error: Exception) -> str:
    """Return why a version is not known where looking for it raised."""
    return f"its metadata cannot be read: {type(error).__name__}"
