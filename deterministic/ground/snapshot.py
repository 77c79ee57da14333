"""Capture and restore over a list of sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from ..errors import DeterministicError, ResumeMismatchError
from .config import Config
from .source import Applied, RngSource, Source

Snapshot: TypeAlias = dict[Source, Any]  # what each source captured, in the order in which they were applied


def capture(sources: Iterable[Source]) -> Snapshot:
    """Return the state of every source. Changes nothing, also when a source raises."""
    return {source: source.capture() for source in sources}


def apply(saved: Snapshot, config: Config) -> list[Applied]:
    """Apply `config` to every source; when one raises, give everything back first. Returns what each did, in order."""
    try:
        return [source.apply(config) for source in saved]
    except BaseException:
        restore(saved)
        raise


def restore(saved: Snapshot) -> None:
    """Put every source back, in reverse order, going on when one raises; a DeterministicError names all that did."""
    failed: list[tuple[str, BaseException]] = []
    for source in reversed(saved):
        try:
            source.restore(saved[source])
        except BaseException as error:  # noqa: BLE001 - the sources after this one must still be restored
            failed.append((source.name, error))
    if failed:
        raise DeterministicError(
            "some sources could not be restored; all others were",
            tuple(f"{name}: {type(error).__name__}: {error}" for name, error in failed),
            "Fix the source, or restart the process: these are not as they were.",
        ) from failed[0][1]


def decode(saved: Any, current: Iterable[Source]) -> Snapshot:
    """Return the states in what `encode` returned, by name, each checked by its source here. Changes nothing."""
    sources: dict[str, RngSource] = {source.name: source for source in current}  # type: ignore[misc]
    states = saved if isinstance(saved, Mapping) else {}
    if states.keys() != sources.keys():
        only_saved, only_here = states.keys() - sources.keys(), sources.keys() - states.keys()
        raise ResumeMismatchError(
            "the saved state covers other generators than there are here",
            (f"only saved: {sorted(map(str, only_saved))}", f"only here: {sorted(only_here)}"),
            "Register the same sources and pass the same generators= as when it was saved.",
        )
    with fitting():
        return {source: source.decode(states[name]) for name, source in sources.items()}


def move(states: Snapshot) -> None:
    """Put sources where saved states say; none is moved if one refuses, with a ResumeMismatchError."""
    before = capture(states)
    with fitting():
        try:
            restore(states)
        except Exception:
            restore(before)
            raise


@contextmanager
def fitting() -> Iterator[None]:
    """Say of whatever a wrong state raises that it does not fit."""
    try:
        yield
    except ResumeMismatchError:
        raise
    except Exception as error:
        raise ResumeMismatchError(
            "the saved state does not fit this process; nothing was moved",
            (f"found: {type(error).__name__}: {error}",),
            "Load it with the same generators=, devices and library versions as it was saved with.",
        ) from error
