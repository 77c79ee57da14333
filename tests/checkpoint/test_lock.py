"""One process at a time has a directory, and no process has it longer than it lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deterministic.checkpoint.directory import LOCK, DirectoryLock
from deterministic.errors import CheckpointError

from ..processes import ROOT

HOLD = """
import os, sys
from pathlib import Path
from deterministic.checkpoint.directory import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
child = 0
if sys.argv[2] == "with a child":
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, str(lock.is_held).encode())
        lock.release()
        os.close(writing)
        sys.stdin.read()
        os._exit(0)
    os.close(writing)
    while os.read(reading, 100):
        pass
print(child, flush=True)
sys.stdin.read()
"""
TRY = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


@contextmanager
def holder(directory: Path, how: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Have another process hold the lock; yield it, and its child's number."""
    command, environment = [sys.executable, "-c", HOLD, str(directory), how], {**os.environ, "PYTHONHASHSEED": "0"}
    streams: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **streams) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def is_free(directory: Path) -> bool:
    """Return whether another process gets the lock."""
    command = [sys.executable, "-c", TRY, str(directory / LOCK)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0 or "BlockingIOError" in finished.stderr or "PermissionError" in finished.stderr
    return finished.returncode == 0


@pytest.mark.usefixtures("warm_pythons")
def test_a_second_process_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, _):
        for _ in range(2):
            with pytest.raises(CheckpointError) as caught:
                DirectoryLock(tmp_path)
            assert f"the directory {tmp_path} is in use" in str(caught.value)
            assert f"found: process {process.pid} on " in str(caught.value)
        process.kill()
        process.wait()
        lock = DirectoryLock(tmp_path)
        assert lock.is_held
        assert not is_free(tmp_path)
        lock.release()
        assert is_free(tmp_path)


def test_a_killed_process_has_it_no_longer_though_its_child_lives(tmp_path: Path) -> None:
    with holder(tmp_path, "with a child") as (process, child):
        with pytest.raises(CheckpointError, match=f"process {process.pid} on"):
            DirectoryLock(tmp_path)  # the child has called release(): that gives nothing back
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives
        try:
            lock = DirectoryLock(tmp_path)
        finally:
            os.kill(child, signal.SIGKILL)
        assert lock.is_held
        lock.release()


def test_in_one_process_the_last_has_it(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path)
    second = DirectoryLock(tmp_path / ".." / tmp_path.name)
    assert not first.is_held
    assert second.is_held
    first.release()
    assert second.is_held
    assert not is_free(tmp_path)
    second.release()
    second.release()
    assert not second.is_held
    assert is_free(tmp_path)


def test_directories_have_locks_of_their_own(tmp_path: Path) -> None:
    locks = []
    for name in "ab":
        (tmp_path / name).mkdir()
        locks.append(DirectoryLock(tmp_path / name))
    assert all(lock.is_held for lock in locks)
    for lock in locks:
        lock.release()


@pytest.mark.usefixtures("warm_pythons")
def test_other_ranks_keep_nobody_out(tmp_path: Path) -> None:
    with holder(tmp_path):
        lock = DirectoryLock(tmp_path, rank=1)
        assert lock.is_held
        lock.release()
    assert not lock.is_held


@pytest.mark.forks
def test_a_forked_child_has_it_not_and_is_refused(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    child = os.fork()
    if not child:
        status = 1
        try:
            if not lock.is_held:
                lock.release()
                DirectoryLock(tmp_path)
        except CheckpointError as error:
            status = 0 if f"process {os.getppid()} on" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert lock.is_held
    assert not is_free(tmp_path)
    lock.release()


def test_a_link_is_not_followed_and_what_it_leads_to_is_left(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"as it was")
    (tmp_path / LOCK).symlink_to(tmp_path / "other")
    with pytest.raises(CheckpointError, match="cannot be locked"):
        DirectoryLock(tmp_path)
    assert (tmp_path / "other").read_bytes() == b"as it was"


def test_a_directory_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be locked\n.*No such file or directory"):
        DirectoryLock(tmp_path / "none")
