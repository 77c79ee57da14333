"""The directory of one training: its lock, what its checkpoints are called, which are kept, how a file gets in."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import CheckpointError
from ..ground import repetition

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = ".lock"
TEMPORARY = ".tmp"  # ends the name of a file that is not in place yet; what a killed process left of one can be deleted

_STEP = r"step-([0-9]{8}|[1-9][0-9]{8,17})"
_MAIN = re.compile(_STEP + r"\.safetensors")
_MARK = r"\.rank(?:0|[1-9][0-9]*)\.[0-9a-f]{16}"
_ANY_MARK = rf"(?:{_MARK}|\.rank[1-9][0-9]*)"  # version 0.1.0 had no checksums in the names
_OF_RANK = re.compile(_STEP + _ANY_MARK + r"\.safetensors")

_held: dict[str, DirectoryLock] = {}
"""The locks of this process, by directory, which are the operating system's; a forked child has the table alone."""


def refusal(differs: str, problem: object, remedy: str) -> CheckpointError:
    """Return the error for what cannot be written or read: what is wrong, what was found, what to do."""
    return CheckpointError(differs, (f"found: {problem}",), remedy)


def directory_of(path: str | os.PathLike[str]) -> Path:
    """Return where the checkpoints of a directory go, and make it."""
    directory = Path(os.path.abspath(path))  # wherever the training goes meanwhile
    if (folder := repetition.instead()) is not None:
        name = hashlib.blake2b(os.path.abspath(path).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        directory = folder / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(
            f"{directory} cannot be the directory of checkpoints",
            error.strerror or error,
            "Pass a directory, or the path of one that can be made.",
        ) from error
    return directory


def main_file(directory: Path, steps: int) -> Path:
    """Return the file that a checkpoint has: it exists if and only if the checkpoint is whole."""
    return directory / f"step-{steps:08d}.safetensors"


def file_of_rank(main: Path, rank: int, checksum: str = "") -> Path:
    """Return the file in which a rank keeps what is its own, and its parts of sharded tensors, beside the main file.

    A step may be saved again (after its last batch, and at the end of the epoch). With the checksum in the name, what a
    rank writes does not take the place of what the main file still names: killed in between, the first is whole.
    """
    return main.with_name(f"{main.stem}.rank{rank}{'.' if checksum else ''}{checksum[:16]}{main.suffix}")


def saved_steps(directory: Path) -> list[int]:
    """Return the steps of the checkpoints, in order. Links count for nothing: they may lead anywhere."""
    files = (entry.name for entry in os.scandir(directory) if entry.is_file(follow_symlinks=False))
    return sorted(int(match[1]) for name in files if (match := _MAIN.fullmatch(name)))


def sweep(directory: Path) -> None:
    """Delete what killed processes left: files not in place, and those of ranks without the main file."""
    whole = {*saved_steps(directory)}
    _delete_of_ranks(directory, lambda steps: steps not in whole)
    _delete(directory, lambda name: name.startswith(".step-") and name.endswith(TEMPORARY))


def set_aside(directory: Path, steps: int) -> None:
    """Let a damaged checkpoint be none, and leave its file there: else it would be kept in place of a whole one."""
    path = main_file(directory, steps)
    aside = path.with_name(f"{path.name}.damaged")
    _require_replaceable(aside)
    os.replace(path, aside)


def prune(directory: Path, keep: int | None, keep_every: int | None) -> None:
    """Delete all checkpoints but the last ones, and those of every so many steps."""
    gone = {steps for steps in (saved_steps(directory)[:-keep] if keep else ()) if not keep_every or steps % keep_every}
    for steps in gone:
        os.unlink(main_file(directory, steps))  # first: from then on there is no such checkpoint
    _delete_of_ranks(directory, lambda steps: steps in gone)


def delete_replaced(main: Path, checksums: Sequence[str]) -> None:
    """Delete the files that ranks had beside a main file before it was written with these checksums, by rank."""
    names = {file_of_rank(main, rank, checksum).name for rank, checksum in enumerate(checksums)}
    mark = _ANY_MARK if _MAIN.fullmatch(main.name) else _MARK  # without a checksum it is anybody's
    of_rank = re.compile(f"{re.escape(main.stem)}{mark}{re.escape(main.suffix)}")
    _delete(main.parent, lambda name: name not in names and of_rank.fullmatch(name))


def _delete_of_ranks(directory: Path, is_left: Callable[[int], bool]) -> None:
    _delete(directory, lambda name: (of_rank := _OF_RANK.fullmatch(name)) and is_left(int(of_rank[1])))


def _delete(directory: Path, is_left: Callable[[str], object]) -> None:
    for entry in [*os.scandir(directory)]:
        if is_left(entry.name) and not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)


@contextmanager
def replacing(path: Path, named: Callable[[], Path] | None = None) -> Iterator[BinaryIO]:
    """A `with` block that writes a file: at any instant there is the old one, whole, or the new one, whole.

    It is written under a temporary name, and survives a loss of power when the block is left. A link is replaced, not
    followed. After any exception what was there is as it was. Where the name depends on what was written, `named`
    returns the path, in the same folder, when all of it is. A CheckpointError says that what is there is no file, or
    that the operating system refuses.
    """
    _require_replaceable(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with suppress(OSError):
            os.unlink(temporary)  # what a process with this number left
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        path = path if named is None else named()
        _require_replaceable(path)
        os.replace(temporary, path)
        if hasattr(os, "O_DIRECTORY"):  # where there is none, the system has names on the disk by itself
            descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _unwritten(path, error.strerror or str(error)) from error
        raise


def _require_replaceable(path: Path) -> None:
    """Raise CheckpointError if something is there that a file must not take the place of: a device, a pipe, a folder.

    Whoever may make files beside a device may put one in its place, for every program of the machine.
    """
    if os.path.lexists(path) and not path.is_symlink() and not path.is_file():
        what = "Is a directory" if path.is_dir() else "no regular file, such as a device or a pipe"
        raise _unwritten(path, what)


def _unwritten(path: Path, reason: str) -> CheckpointError:
    return refusal(
        f"the checkpoint {path} could not be written",
        reason,
        "Make room, or write to another place; checkpoints that were there before are as they were.",
    )


class DirectoryLock:
    """A lock that the operating system keeps for the process, and gives back when it ends, however it ends.

    It is the process's own (`fcntl.lockf`): worker processes that outlive a killed parent do not hold it, as they
    would a lock of the file's (`flock`). In the process itself the last one has it: a notebook's cell that is run again
    takes the directory over. Of a distributed training rank 0 keeps others out; the other ranks have a lock that is
    none.
    """

    def __init__(self, directory: Path, rank: int = 0) -> None:
        self._name = f"{os.path.realpath(directory)}:{rank}"
        self._pid = os.getpid()
        if (before := _held.get(self._name)) is not None:
            before.release()
        self._descriptor = None if rank else _locked(directory)
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


def _locked(directory: Path) -> int:
    """Return the descriptor of the lock's file, which says for others who has it."""
    try:  # a link is not followed: what is in the file is overwritten
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        raise refusal(
            f"the directory {directory} cannot be locked",
            f"{LOCK}: {error.strerror or error}",
            "Take a directory in which files can be written.",
        ) from error
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 200).decode(errors="replace").strip("\0 \n")
        os.close(descriptor)
        raise refusal(
            f"the directory {directory} is in use",
            holder or "another process has it",
            "Wait until it has ended or end it, call close() on its Checkpoint, or take another directory.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f" process {os.getpid()} on {socket.gethostname()} has it\n".encode())
    return descriptor
