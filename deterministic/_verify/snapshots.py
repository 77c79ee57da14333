"""Copies of a run as it was at some step, kept asleep, so that a replay need not begin at the beginning.

A copy is a forked process that waits. Asked to replay a step, it forks once more; that process goes on from there as
the run did, records the step, and ends. So one copy serves any number of replays, and the run itself is never changed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import explain
from ..trace.file import TraceWriter
from ..trace.log import Kept
from ..trace.record import Recording

MOST = 16
"""Copies that are kept; of more every second one is let go, and from then on half as many are made."""


@dataclass(frozen=True)
class _Copy:
    steps: int
    pid: int
    commands: int
    answers: int


_alive: list[_Copy] = []
"""The copies that this process has, of every run."""


class Snapshots:
    """The copies of one run.

    Args:
        every: After how many steps a copy is made, 1 or more; None: never.
    """

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._copies: list[_Copy] = []
        self._recording: Recording | None = None
        self._others: set[object] = set()
        self._replay: _Replay | None = None
        self.failures = 0
        """How many replays a copy did not get to the end of."""

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Stand around the whole run: a process that replays must never return to who called `verify`."""
        try:
            yield
        finally:
            if self._replay is not None:
                os._exit(1)  # its step never ended

    def begin(self, recording: Recording) -> None:
        """Note what records the run.

        Raises:
            ValueError: This process cannot be copied.
        """
        if self._every is not None:
            require_safe_fork()
            self._recording = recording
            self._others = {*multiprocessing.active_children()}

    def after_step(self, steps: int) -> None:
        """Make a copy if one is due; in a process that replays, end when its step is over."""
        if self._replay is not None:
            self._replay.after_step(steps)
        elif (
            self._recording is not None
            and self._every
            and steps % self._every == 0
            and not {*multiprocessing.active_children()} - self._others
        ):
            # Workers of a loader would serve the copy and the run at once.
            self._copy(steps)
            if len(self._copies) > MOST:
                self._every *= 2
                for copy in self._copies[::2]:
                    _let_go(copy)
                del self._copies[::2]

    def replay(self, plan: Mapping[str, Any]) -> bool:
        """Replay a segment from the copy nearest before it; the trace has that segment alone.

        Args:
            plan: "path", "segment" and "keep" as of a `Plan`, as JSON.

        Returns:
            Whether it was replayed; else there was no copy, or it failed.
        """
        copy = max((c for c in self._copies if c.steps <= plan["segment"]), key=lambda c: c.steps, default=None)
        if copy is None:
            return False
        os.write(copy.commands, json.dumps(plan).encode() + b"\n")
        succeeded = os.read(copy.answers, 1) == b"0"
        self.failures += not succeeded
        return succeeded

    def close(self) -> None:
        """Let go of all copies."""
        while self._copies:
            _let_go(self._copies.pop())

    def _copy(self, steps: int) -> None:
        commands, to_copy = os.pipe()
        from_copy, answers = os.pipe()
        pid = os.fork()
        if pid:
            os.close(commands)
            os.close(answers)
            self._copies.append(_Copy(steps, pid, to_copy, from_copy))
            _alive.append(self._copies[-1])
            return
        for copy in _alive:  # of other runs, too: or they would not notice when they are let go of
            os.close(copy.commands)
            os.close(copy.answers)
        _alive.clear()
        self._copies.clear()
        os.close(to_copy)
        os.close(from_copy)
        self._wait(commands, answers)
        if self._replay is not None:
            self._replay.after_step(steps)

    def _wait(self, commands: int, answers: int) -> None:
        """Wait for commands. Returns only in the process that carries one out: to go on with the run."""
        with os.fdopen(commands) as lines:
            for line in lines:
                pid = os.fork()
                if not pid and self._recording is not None:
                    self._replay = _Replay(self._recording, json.loads(line))
                    return
                _, status = os.waitpid(pid, 0)
                os.write(answers, b"1" if status else b"0")
        os._exit(0)


NO_SNAPSHOTS = Snapshots(None)
"""Never makes a copy."""


class _Replay:
    """What a process does that a copy started: record one step, and end."""

    def __init__(self, recording: Recording, plan: Mapping[str, Any]) -> None:
        self._recorder = recording.recorder
        self._segment = plan["segment"]
        self._path = Path(plan["path"])
        self._kept = None if plan["keep"] is None else Kept(*plan["keep"])
        self._writer = TraceWriter(self._path, {**recording.header, "level": "ops+inputs"}).__enter__()

    def after_step(self, steps: int) -> None:
        if steps == self._segment:
            self._recorder.redirect(self._writer, "ops+inputs", segment=self._segment, kept=self._kept)
        elif steps > self._segment:
            self._recorder.end()
            self._writer.close({**self._recorder.summary(), "raised": None})
            if self._kept is not None and self._kept.tensor is not None:
                torch.save(self._kept.tensor, f"{self._path}.pt")
            os._exit(0)


def require_safe_fork() -> None:
    """Refuse where a copy of this process could not go on.

    Raises:
        ValueError: It has more than one thread for operations, an accelerator, or no way to fork.
    """
    wrong = []
    if not hasattr(os, "fork"):
        wrong.append("this system cannot fork")
    if torch.get_num_threads() > 1:
        wrong.append(f"torch.get_num_threads() is {torch.get_num_threads()}: OpenMP's threads are lost in a fork")
    if torch.cuda.is_initialized():
        wrong.append("CUDA is initialised, and does not outlive a fork")
    if not wrong and not _autograd_outlives_a_fork():
        wrong.append("autograd has threads of its own here (a backward pass ran nested deep), which are lost in a fork")
    if wrong:
        raise ValueError(
            explain(
                "snapshot_every= keeps copies of the process, and this one cannot be copied",
                tuple(f"found: {line}" for line in wrong),
                "Pass control=reproducible(num_threads=1), or leave snapshot_every out: replays begin at the start.",
            )
        )


def _autograd_outlives_a_fork() -> bool:
    """Return whether a backward pass works in a copy of this process: torch does not tell, so a copy tries it."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return status == 0
    try:
        torch.ones(1, requires_grad=True).sum().backward()
        os._exit(0)
    finally:
        os._exit(1)


def _let_go(copy: _Copy) -> None:
    _alive.remove(copy)
    os.close(copy.commands)
    os.close(copy.answers)
    os.waitpid(copy.pid, 0)
