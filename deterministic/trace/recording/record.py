"""`record`: a block or a function, recorded into a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ...errors import DeterministicError, TraceError, type_error
from ...ground.arguments import choice
from ...ground.ranks import Ranks, current_ranks
from ...ground.synonyms import explained
from ...provenance.collecting import kept_manifest
from ...sources.registry import in_effect
from ...values.hashes import DEVICE, HOST
from ..file.chunks import StrPath
from ..file.model import TRACE_LEVELS, TraceLevel
from ..file.store import TraceWriter
from .recorder import Recorder, global_states

P = ParamSpec("P")
R = TypeVar("R")


class Recording:
    """What `record(...)` returns: a context manager around a block, or a decorator of a function.

    Each entry writes the file anew. Not for several threads at once; what other threads compute is not recorded.

    Attributes:
        path: Where the trace is written; where there are several ranks, `path_of_rank` adds this one to the name.
        header: What the trace says first; empty before the block is entered.
    """

    def __init__(
        self,
        path: StrPath,
        level: TraceLevel,
        *,
        said: Mapping[str, Any] | None = None,
        has_manifest: bool = False,
        by_rank: bool = True,
        **how: Any,
    ) -> None:
        self.path = Path(path)
        self._level = level
        self._said = said or {}
        self._has_manifest = has_manifest
        self._by_rank = by_rank
        self._how = how
        self._writer: TraceWriter | None = None
        self._recorder: Recorder | None = None
        self.header: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"record({str(self.path)!r}, level={self._level!r})"

    @property
    def recorder(self) -> Recorder:
        """What is recording; a DeterministicError outside of the block."""
        if self._recorder is None:
            value = f"found: {self!r}, outside of its block"
            raise DeterministicError("nothing is being recorded", (value,), "Enter it first.")
        return self._recorder

    def observe(self, name: str, value: Any) -> None:
        """Record a value that shall be compared with the other run's.

        Args:
            name: What it is called in a verdict.
            value: Anything that `fingerprint` takes; a container that contains itself raises ValueError.

        Raises:
            DeterministicError: The block is not entered.
        """
        self.recorder.observe(name, value)

    def __enter__(self) -> Recording:
        if self._recorder is not None:
            value = f"found: {self!r}, entered twice"
            remedy = "Use another record() with another path inside."
            raise DeterministicError("this trace is being recorded already", (value,), remedy)
        ranks = current_ranks() if self._by_rank else Ranks()
        path = path_of_rank(self.path, ranks.rank) if ranks.world_size > 1 else self.path
        self.header = {
            "level": self._level,
            "hashes": [HOST, DEVICE],
            "rank": ranks.rank,
            "world_size": ranks.world_size,
            **in_effect(),
            "generators": global_states(),
            **({"manifest": kept_manifest()} if self._has_manifest else {}),
            **self._said,
        }
        with ExitStack() as undo:
            writer = undo.enter_context(TraceWriter(path, self.header))
            recorder = Recorder(writer, self._level, **self._how)
            recorder.start()
            undo.pop_all()
        self._writer, self._recorder = writer, recorder
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        recorder, writer = self.recorder, self._writer
        self._recorder = self._writer = None
        with ExitStack() as ending:
            if writer is not None:
                ending.callback(writer.__exit__, kind, error, traceback)
                ending.callback(self._finish, recorder, writer, kind)
            ending.callback(recorder.stop)
            if kind is None:
                ending.callback(recorder.finish)

    def _finish(self, recorder: Recorder, writer: TraceWriter, kind: type[BaseException] | None) -> None:
        if recorder.failed:
            return  # it was raised when it happened
        # What the block raised is more important than a trace that cannot be finished, and says so when it is read.
        with suppress(*([TraceError] if kind else [])):
            recorder.end()
            writer.close({**recorder.summary(), "raised": kind.__name__ if kind else None})

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Record each call of a function, and what it returns; the file is that of the last call.

        Raises:
            TypeError: The function is a generator or a coroutine: what it computes it computes later.
        """
        kinds = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
        if any(is_kind(function) for is_kind in kinds):
            value = f"found: {getattr(function, '__qualname__', function)!s}, a generator or a coroutine function"
            remedy = "Use `with record(...)` in its body."
            raise type_error("a call of this function computes nothing yet", (value,), remedy)

        @wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                result = function(*args, **kwargs)
                self.recorder.returned(result)
                return result

        return recorded


@explained('record("a.trace", level="ops")')
def record(path: StrPath, level: TraceLevel = "ops", *, absolute_paths: bool = False, source: bool = True) -> Recording:
    """Record what a block computes, as hashes, into a file that `diff` compares with another.

    From the least to the most, each with what the ones before it have:
    `"digest"`, 16 bytes a step over losses, gradients, parameters, optimizer state, batches, what was observed, and
    what outermost modules are given and return;
    `"values"`, a hash for each of these;
    `"modules"`, and of what each module returned and the gradient of that;
    `"ops"`, and of what each operation wrote, the numbers it was given, the generator state it drew from;
    `"ops+inputs"`, and of what each operation read.

    A step ends with each `optimizer.step()`; until there is one, where leaves that a backward pass reached are seen to
    have changed. State it touches while the block is open: torch's global module and optimizer hooks, what begins a
    backward pass, the functions that seed (to note who does), and from `"ops"` on a dispatch mode and
    `threading.setprofile`. No generator is drawn from.

    Args:
        path: The file; one that is there is replaced. With several ranks, each writes one with its rank before the
            suffix: "a.rank0.trace".
        level: One of the above.
        absolute_paths: Write absolute paths of source files. Otherwise they are relative to the working directory or
            to the installed packages.
        source: Keep the text of the lines that the trace names, so that `diff` can show it wherever it runs. Without,
            a verdict has their numbers alone.

    Returns:
        A context manager, and a decorator; `as trace` gives it, for `trace.observe(name, value)`.

    Raises:
        ValueError: `level` is none.
        TraceError: On entering: the file cannot be written.

    Example:
        >>> import os, tempfile, torch
        >>> from deterministic import diff, record
        >>> folder = tempfile.TemporaryDirectory()
        >>> a, b = (os.path.join(folder.name, name) for name in ("a.trace", "b.trace"))
        >>> for path in (a, b):
        ...     with record(path):
        ...         torch.ones(3).sum()
        tensor(3.)
        tensor(3.)
        >>> bool(diff(a, b))
        False
        >>> folder.cleanup()
    """
    choice("level", level, TRACE_LEVELS, what="not a level of a trace")
    return Recording(path, level, has_manifest=True, absolute_paths=absolute_paths, source=source)


def path_of_rank(path: Path, rank: int) -> Path:
    """Return where a rank writes its trace."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")
