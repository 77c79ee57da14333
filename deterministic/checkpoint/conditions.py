"""What a run's bits depend on beside its objects: generators, which are put back, and conditions, which are compared.

Conditions (versions, hardware, settings, ranks, the seed) are never overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from ..errors import NondeterminismWarning, ResumeMismatchError, cut, warn
from ..ground import snapshot
from ..ground.ranks import current_ranks
from ..ground.source import flat, generators_among
from ..provenance.difference import differences
from ..scope import stack
from ..scope.run import Run, decoded
from ..sources import SOURCES
from ..sources.registry import in_effect

Mismatch: TypeAlias = Literal["raise", "warn"]
MISMATCH: tuple[Mismatch, ...] = ("raise", "warn")

_NO_MATTER = {"python", "num_threads"}
"""Versions that are not compared: Python's own arithmetic is the same in all, and threads are a setting as well."""


def innermost_run() -> Run | None:
    """Return the run of the innermost open scope, None if no scope is open."""
    entry = stack.innermost()
    run: Run | None = None if entry is None else entry.run
    return run


def generator_states(run: Run | None) -> dict[str, Any]:
    """Return the state of every generator: of a run, with its streams, or with none, of the process."""
    if run is not None:
        return {"run": run.state_dict()}
    return {"process": {source.name: source.encode(source.capture()) for source in generators_among(SOURCES)}}


def require_same_place(saved: Mapping[str, Any], run: Run | None) -> None:
    """Raise ResumeMismatchError if they were saved in a scope and there is none here, or do not fit; moves none."""
    if (run is not None) != ("run" in saved):
        words = ("outside of reproducible()", "inside of reproducible()")
        raise ResumeMismatchError(
            "the generators were saved in another place",
            (f"saved: {words['run' in saved]}", f"here: {words[run is not None]}"),
            "Load it as it was saved: inside `with reproducible(...)`, or outside.",
        )
    if run is not None:
        decoded(run, saved["run"])
    else:
        snapshot.decode(saved["process"], generators_among(SOURCES))


def put_back(saved: Mapping[str, Any], run: Run | None) -> None:
    """Put every generator where `generator_states` found it, or raise ResumeMismatchError: they do not fit."""
    if run is not None:
        run.load_state_dict({**saved["run"], "rank": None})  # which rank's it is was settled by who chose the file
    else:
        snapshot.move(snapshot.decode(saved["process"], generators_among(SOURCES)))


def conditions() -> dict[str, Any]:
    """Return the versions, hardware, settings, ranks and the seed that are in effect now, as JSON."""
    entry, now = stack.innermost(), in_effect()
    settings = {**now["settings"]}
    watched = settings.pop("entropy", {})  # to look on changes no bit
    return {
        "seed": None if entry is None else entry.config.common_seed,  # each rank may have one of its own
        "deterministic": None if entry is None else entry.config.deterministic,
        "world_size": current_ranks().world_size,
        "versions": {name: value for name, value in now["versions"].items() if name not in _NO_MATTER},
        "settings": settings if watched.get("mode") != "seed" else {**settings, "entropy": {"mode": "seed"}},
    }


def compare(path: object, saved: Mapping[str, Any], on_mismatch: str, own: Sequence[str] | None = None) -> None:
    """Raise or warn where a run that is resumed here could have other bits than where it was saved.

    `own` is what each rank had of its own, by name, so that another number of ranks cannot have it; None: nobody knows.
    """
    before, now = flat(saved), flat(conditions())
    count, here = before.get("world_size"), now["world_size"]
    if count != here and (own is not None or count == 1):
        before["world_size"] = here
        own = [f"{name}: each rank had its own" for name in own or ()]
        if here > 1 and (entry := stack.innermost()) and entry.config.seed_of_all_ranks is not None:
            own += ["generators: each rank here has a seed of its own (per_rank=True)"]
        if own:
            complain(
                on_mismatch,
                f"{path} was saved by {count} ranks, and cannot be shared out to {here}",
                tuple(own),
                "Resume on as many ranks. For any number leave out per_rank=True, and let all ranks have the same. "
                'To go on with what rank 0 had: on_mismatch="warn".',
            )
    found = [one for one in differences(before, now) if one.a != one.b]
    if found:
        complain(
            on_mismatch,
            f"{path} was saved under other conditions, under which the bits may differ",
            tuple(f"{one.field}: saved {cut(one.a)}, here {cut(one.b)} ({one.why})" for one in found),
            "Resume under the same ones: versions, hardware, number of threads, flags. To go on all the same, though "
            'not bit for bit: on_mismatch="warn".',
        )


def complain(on_mismatch: str, differs: str, values: tuple[str, ...], remedy: str) -> None:
    """Raise ResumeMismatchError, or warn if that is asked for."""
    if on_mismatch == "raise":
        raise ResumeMismatchError(differs, values, remedy)
    warn(NondeterminismWarning, differs, values, remedy)
