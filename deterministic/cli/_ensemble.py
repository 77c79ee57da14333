"""One script for several seeds, each in a process of its own: `deterministic run --seeds`."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, BinaryIO, NamedTuple

from ..verification.processes import signal_name
from ._environment import command_with
from ._look import write_table
from ._options import FAILED, INTERRUPTED, OK

_SILENCE = 2.0  # for how many seconds nothing may come through a pipe whose script has ended before it is given up


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends this process alone unless it is passed on."""


class SeedOutcome(NamedTuple):
    """How the run of one seed ended, and how long it took."""

    seed: int
    status: int | None  # below 0 the signal that ended it; None if it never began
    seconds: float = 0.0
    used: tuple[Any, ...] | None = None  # in the end: "scopes" and their seeds, else "torch" and its; None if not known

    @property
    def ending(self) -> str:
        if self.status is None:
            return "not run"
        return str(self.status) if self.status >= 0 else signal_name(-self.status)


def run_ensemble(arguments: argparse.Namespace) -> int:
    """Run the script once for each seed, and show how each ended; 0: all well, 1: one was not, 130: interrupted."""
    from concurrent.futures import ThreadPoolExecutor  # brings logging with it, which one run has no use for

    ensemble = _Ensemble(arguments)
    with _terminable():
        try:
            with ThreadPoolExecutor(arguments.jobs or 1) as pool:
                try:
                    futures = [pool.submit(ensemble.run_seed, seed) for seed in arguments.seeds]
                    outcomes = [future.result() for future in futures]
                    status = OK if all(outcome.status == 0 for outcome in outcomes) else FAILED
                except BaseException as error:
                    ensemble.end(is_told=not isinstance(error, _Terminated) and sys.stdin.isatty())
                    raise
        except KeyboardInterrupt:
            outcomes = [future.result() for future in futures]
            status = INTERRUPTED
    if not arguments.quiet:
        _show(outcomes)
    return status


class _Ensemble:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._is_ending = False
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def run_seed(self, seed: int) -> SeedOutcome:
        """Run one, in a thread of the pool."""
        import tempfile

        several = (self._arguments.jobs or 1) > 1
        with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:
            seeds_file = Path(folder) / "seeds.json"
            pipe = subprocess.PIPE if several else None
            started = time.monotonic()
            with self._lock:
                if self._is_ending:
                    return SeedOutcome(seed, None)
                process = subprocess.Popen(self._command(seed, seeds_file), stdout=pipe, stderr=pipe)
                self._processes.add(process)
            self._tell(f"seed {seed}: started")
            status = _pass_on(process, seed) if several else process.wait()
            with self._lock:
                self._processes.discard(process)
            outcome = SeedOutcome(seed, status, time.monotonic() - started, _used(seeds_file))
        self._tell(f"seed {seed}: exit status {outcome.ending}, {outcome.seconds:.1f} s")
        return outcome

    def end(self, *, is_told: bool) -> None:
        """Begin nothing more, and wait until what runs has cleaned up; a second interrupt kills it.

        Runs of a terminal have got the interrupt themselves (`is_told`); another would break off what they do about it.
        """
        with self._lock:
            self._is_ending = True
            running = list(self._processes)
        try:
            if not is_told:
                for process in running:
                    process.send_signal(signal.SIGINT)
            while any(process.poll() is None for process in running):
                time.sleep(0.02)
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()

    def _command(self, seed: int, seeds_file: Path) -> list[str]:
        arguments = self._arguments
        options = ["--seed", str(seed), "--seeds-file", str(seeds_file)]
        for name in ("deterministic", "config", "entropy", "num_threads"):
            if getattr(arguments, name) is not None:
                options += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
        options += ["--portable"] * arguments.portable
        options += ["--quiet"]  # what there is to say is the same of each, and has been said
        options += ["-m"] * arguments.is_module
        return command_with(["run", *options, *arguments.command])

    def _tell(self, text: str) -> None:
        if not self._arguments.quiet and sys.stderr.isatty():
            sys.stderr.write(f"{text}\n")


def _pass_on(process: subprocess.Popen[bytes], seed: int) -> int:
    """Let the output of one of several through, each line with its seed before it; return the exit status."""
    pipes = (process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)
    readers = [_Reader(source, sink, f"{seed} | ".encode()) for source, sink in pipes if source is not None]
    for reader in readers:
        reader.start()
    status = process.wait()
    for reader in readers:
        reader.finish()
    return status


class _Reader(threading.Thread):
    """Lets one pipe through, line by line, with a prefix before each."""

    def __init__(self, source: IO[bytes], sink: BinaryIO, prefix: bytes) -> None:
        super().__init__(daemon=True)
        self._source, self._sink, self._prefix = source, sink, prefix
        self._begun = self._written = 0

    def run(self) -> None:
        """Read to the end, or until nobody wants it any more."""
        with self._source:
            for line in self._source:
                self._begun += 1
                self._sink.write(self._prefix + line.rstrip(b"\n") + b"\n")  # in one piece: others write here, too
                self._sink.flush()
                self._written += 1

    def finish(self) -> None:
        """Wait for what is on its way once the script has ended."""
        # A process that the script left behind may hold the pipe for ever; whoever reads from us may just be slow.
        moved = -1
        while self.is_alive() and (self._begun > self._written or self._written > moved):
            moved = self._written
            self.join(_SILENCE)


def _used(seeds_file: Path) -> tuple[Any, ...] | None:
    try:
        seeds = json.loads(seeds_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # it was killed, or left by os._exit
    return ("scopes", *seeds["scopes"]) if seeds["scopes"] else ("torch", seeds["torch"])


def _show(outcomes: Sequence[SeedOutcome]) -> None:
    rows = [(str(one.seed), one.ending, f"{one.seconds:.1f} s" if one.status is not None else "") for one in outcomes]
    kinds = ["good" if one.status == 0 else "bad" for one in outcomes]
    write_table(("seed", "exit", "time"), rows, sys.stderr, kinds=kinds)
    used = {one.used for one in outcomes if one.status == 0}
    if len(outcomes) > 1 and len(used) == 1 and (same := used.pop()) is not None and same != ("torch", None):
        seeds = ", ".join(map(str, same[1:]))
        what = (
            f"the blocks of reproducible() (and seed_everything()) had one effective seed in every run, {seeds}"
            if same[0] == "scopes"
            else f"torch's generator had one effective seed at the end of every run, {same[1]}"
        )
        sys.stderr.write(
            f"{what}: the script sets its own seed, which wins.\n"
            "Leave it out there, or read it from the command line.\n"
        )


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the runs as Ctrl-C does: by default it would end this process alone."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
