"""One training at a time in a directory."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from ..errors import CheckpointError, explain

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".lock"

_held: dict[str, DirectoryLock] = {}
"""The locks of this process, by directory; a forked child has the table and not the locks."""


class DirectoryLock:
    """A lock that the operating system keeps for the process, and gives back when it ends, however it ends.

    It is the process's own (`fcntl.lockf`): worker processes that outlive a killed parent do not hold it, as they
    would a lock of the file's (`flock`). In the process itself the last one has it: a notebook's cell that is run again
    takes the directory over.

    Args:
        directory: It must exist.
        rank: Of a distributed training, rank 0 alone keeps others out; the others have a lock that is none.

    Raises:
        CheckpointError: Another process has it.
    """

    def __init__(self, directory: Path, rank: int = 0) -> None:
        self._name = f"{os.path.realpath(directory)}:{rank}"
        self._pid = os.getpid()
        self._descriptor: int | None = None
        before = _held.get(self._name)
        if before is not None:
            before.release()
        if rank == 0:
            self._descriptor = _opened(directory)
        _held[self._name] = self

    @property
    def is_held(self) -> bool:
        """Whether this process still has it."""
        return _held.get(self._name) is self and self._pid == os.getpid()

    def release(self) -> None:
        """Give it back; again it does nothing, and so it does in a forked child."""
        if self.is_held:
            del _held[self._name]
            if self._descriptor is not None:
                os.close(self._descriptor)


def _opened(directory: Path) -> int:
    try:  # a link is not followed: what is in the file is overwritten
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        raise CheckpointError(
            explain(
                f"the directory {directory} cannot be locked",
                (f"found: {NAME}: {error.strerror or error}",),
                "Take a directory in which files can be written.",
            )
        ) from error
    try:
        _lock(descriptor)
    except OSError as error:
        holder = os.read(descriptor, 200).decode(errors="replace").strip("\0 \n")
        os.close(descriptor)
        raise _refused(directory, holder or "another process has it") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f" process {os.getpid()} on {socket.gethostname()} has it\n".encode())
    return descriptor


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _refused(directory: Path, holder: str) -> CheckpointError:
    return CheckpointError(
        explain(
            f"the directory {directory} is in use",
            (f"found: {holder}",),
            "Wait until it has ended or end it, call close() on its Checkpoint, or take another directory.",
        )
    )
