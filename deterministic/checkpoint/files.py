"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import CheckpointError, explain

TEMPORARY = ".tmp"
"""Ends the name of a file that is not in place yet; what a killed process left of one can be deleted."""


class Staged:
    """A file that is on the disk under a temporary name.

    Args:
        path: Where it shall be; a link there is replaced, not followed.
        write: Writes it.

    Raises:
        CheckpointError: What is there is no file, or the operating system refuses; the temporary file is gone then, as
            after any exception.
    """

    def __init__(self, path: Path, write: Callable[[BinaryIO], object]) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
        require_replaceable(path)
        self.discard()  # what a process with this number left
        try:
            with open(self._temporary, "xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.discard()
            raise _failed(path, error) from error
        except BaseException:
            self.discard()
            raise

    def commit(self) -> None:
        """Put it in place of what is there. It survives a loss of power when this returns.

        Raises:
            CheckpointError: The operating system refuses.
        """
        try:
            os.replace(self._temporary, self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            self.discard()
            raise _failed(self.path, error) from error
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Delete it, if it is not in place."""
        with suppress(OSError):
            os.unlink(self._temporary)


def require_replaceable(path: Path) -> None:
    """Raise CheckpointError if something is there that a file must not take the place of: a device, a pipe, a folder.

    Whoever may make files beside a device may put one in its place, for every program of the machine.
    """
    if os.path.lexists(path) and not path.is_symlink() and not path.is_file():
        found = "Is a directory" if path.is_dir() else "no regular file, such as a device or a pipe"
        raise _failed(path, OSError(found))


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk; a system that cannot does so by itself."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failed(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        explain(
            f"the checkpoint {path} could not be written",
            (f"found: {error.strerror or error}",),
            "Make room, or write to another place; checkpoints that were there before are as they were.",
        )
    )
