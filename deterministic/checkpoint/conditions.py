"""What a run's bits depend on beside its state: compared when it is resumed, and never overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import NondeterminismWarning, ResumeMismatchError, explain, warn
from ..ground.ranks import current_ranks
from ..scope import stack
from ..sources.registry import in_effect

ON_MISMATCH = ("raise", "warn")

_NO_MATTER = {"python", "num_threads"}
"""Versions that are not compared: Python's own arithmetic is the same in all, and threads are a setting as well."""


def conditions() -> dict[str, Any]:
    """Return the versions, hardware, settings, ranks and the seed that are in effect now, as JSON."""
    entry, now = stack.innermost(), in_effect()
    return {
        "seed": None if entry is None else entry.config.common_seed,  # each rank may have one of its own
        "deterministic": None if entry is None else entry.config.deterministic,
        "world_size": current_ranks().world_size,
        "versions": {name: value for name, value in now["versions"].items() if name not in _NO_MATTER},
        "settings": now["settings"],
    }


def differences(saved: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what differs, one line each, with both values."""
    one, other = dict(_flat(saved)), dict(_flat(here))
    return [
        f"{name}: saved {one.get(name)!r}, here {other.get(name)!r}"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def compare(path: object, saved: Mapping[str, Any], on_mismatch: str) -> None:
    """Raise or warn where a run that is resumed here could have other bits than where it was saved.

    Raises:
        ResumeMismatchError: Something differs, and `on_mismatch` is "raise".
    """
    found = differences(saved, conditions())
    if not found:
        return
    text = explain(
        f"{path} was saved under other conditions, under which the bits may differ",
        tuple(found),
        "Resume under the same ones: versions, hardware, number of threads, flags. To go on all the same, and not "
        'bit for bit: on_mismatch="warn".',
    )
    if on_mismatch == "raise":
        raise ResumeMismatchError(text)
    warn(NondeterminismWarning, text)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
