"""The state of the generators: of a run, with its streams, or with none, of the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ResumeMismatchError, explain
from ..ground import snapshot
from ..ground.snapshot import Snapshot
from ..ground.source import RngSource
from ..scope import stack
from ..scope.run import Run, decoded
from ..sources import SOURCES


def innermost_run() -> Run | None:
    """Return the run of the innermost open scope, None if no scope is open."""
    entry = stack.innermost()
    run: Run | None = None if entry is None else entry.run
    return run


def generator_states(run: Run | None) -> dict[str, Any]:
    """Return the state of every generator."""
    if run is not None:
        return {"run": run.state_dict()}
    return {"process": {name: source.encode(source.capture()) for name, source in _sources().items()}}


def require_same_place(saved: Mapping[str, Any], run: Run | None) -> None:
    """Raise ResumeMismatchError if they were saved in a scope and there is none here, or do not fit; moves none."""
    if (run is not None) != ("run" in saved):
        words = ("outside of reproducible()", "inside of reproducible()")
        raise ResumeMismatchError(
            explain(
                "the generators were saved in another place",
                (f"saved: {words['run' in saved]}", f"here: {words[run is not None]}"),
                "Load it as it was saved: inside `with reproducible(...)`, or outside.",
            )
        )
    _decoded(saved, run)


def put_back(saved: Mapping[str, Any], run: Run | None) -> None:
    """Put every generator where `generator_states` found it.

    Raises:
        ResumeMismatchError: The states do not fit this process.
    """
    if run is not None:
        run.load_state_dict(saved["run"])
    else:
        snapshot.move(_decoded(saved, run))


def _decoded(saved: Mapping[str, Any], run: Run | None) -> Snapshot:
    return decoded(run, saved["run"])[0] if run is not None else snapshot.decode(saved["process"], _sources().values())


def _sources() -> dict[str, RngSource]:
    return {source.name: source for source in SOURCES if source.kind == "rng" and isinstance(source, RngSource)}
