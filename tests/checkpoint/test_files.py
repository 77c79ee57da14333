"""A file is there as a whole or not at all, whatever fails while it is written."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from deterministic import Checkpoint, load_checkpoint, save_checkpoint
from deterministic.checkpoint import container, directory
from deterministic.checkpoint import load as loading
from deterministic.checkpoint.directory import main_file, replacing, set_aside
from deterministic.errors import CheckpointError
from deterministic.ground.ranks import Ranks

from .written import Forgery, Plain

FAILURES = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "broken"), KeyboardInterrupt()]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """Return the path of a checkpoint that must survive."""
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, value="before")
    return path


def is_as_before(path: Path) -> bool:
    return [*path.parent.iterdir()] == [path] and load_checkpoint(path, value=None) == {"value": "before"}


def save(path: Path) -> None:
    save_checkpoint(path, value=torch.arange(1000.0), more=torch.ones(50))


def fail_in(failure: BaseException, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise failure

    monkeypatch.setattr(os, name, fail)


def expected(failure: BaseException) -> type[BaseException]:
    return CheckpointError if isinstance(failure, OSError) else KeyboardInterrupt


class Failing:
    """A file that takes so many bytes, and then fails."""

    def __init__(self, file: BinaryIO, room: int, failure: BaseException) -> None:
        self.file, self.room, self.failure = file, room, failure

    def write(self, piece: Any) -> int:
        size = memoryview(piece).nbytes
        if size > self.room:
            self.file.write(memoryview(piece).cast("B")[: self.room])
            raise self.failure
        self.room -= size
        return self.file.write(piece)

    def seek(self, place: int) -> int:
        return self.file.seek(place)


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_write_that_fails_part_way_leaves_the_file_that_was_there(
    share: float, failure: BaseException, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(before.parent / "b")
    room = int(share * (before.parent / "b").stat().st_size)
    (before.parent / "b").unlink()
    write = container.write_pieces
    tried: list[int] = []

    def failing(file: BinaryIO, *others: Any) -> str:
        tried.append(room)
        return write(Failing(file, room, failure), *others)  # type: ignore[arg-type]

    monkeypatch.setattr(container, "write_pieces", failing)
    with pytest.raises(expected(failure)) as caught:
        save(before)
    if isinstance(failure, OSError):
        assert f"the checkpoint {before} could not be written" in str(caught.value)
        assert f"found: {failure.strerror}" in str(caught.value)
    assert tried == [room]
    assert is_as_before(before)


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_call_that_fails_leaves_the_file_that_was_there(
    name: str, failure: BaseException, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_in(failure, name, patch)
        with pytest.raises(expected(failure)):
            save(before)
    assert is_as_before(before)


def test_what_is_written_is_on_the_disk_before_it_is_in_place_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, object]] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        done.append(("directory", "") if stat.S_ISDIR(found.st_mode) else ("file", found.st_size))
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        assert not target.exists()
        done.append(("replace", target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    save(tmp_path / "a")
    assert done == [("file", (tmp_path / "a").stat().st_size), ("replace", tmp_path / "a"), ("directory", "")]


def test_while_it_is_written_the_file_that_was_there_is_whole(before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        found.append(load_checkpoint(before, value=None))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", look)
        save_checkpoint(before, value="after")
    assert found == [{"value": "before"}, {"value": "after"}]


def test_what_is_written_is_nowhere_until_it_is_whole(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".a.")
        assert left.name.endswith(directory.TEMPORARY)
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_what_is_not_written_to_its_end_is_gone(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "a") as file:
            file.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.parent.write_bytes(b""), "Not a directory"),
        (lambda path: path.mkdir(parents=True), "Is a directory"),
    ],
    ids=["no directory", "a file for a directory", "a directory for a file"],
)
def test_a_place_where_nothing_can_be_written_is_refused(
    make: Callable[[Path], object], found: str, tmp_path: Path
) -> None:
    path = tmp_path / "there" / "a"
    make(path)
    before = [*tmp_path.rglob("*")]
    with pytest.raises(CheckpointError, match=rf"could not be written\n.*{found}"):
        save(path)
    assert [*tmp_path.rglob("*")] == before


@pytest.mark.parametrize("is_there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_stays_and_what_it_leads_to_is_replaced(is_there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if is_there:
        (folder / "other").write_bytes(b"other")
    (tmp_path / "a").symlink_to(folder / "other")
    save_checkpoint(tmp_path / "a", value=1)
    assert (tmp_path / "a").readlink() == folder / "other"
    assert load_checkpoint(folder / "other", value=None) == {"value": 1}
    assert [*folder.iterdir()] == [folder / "other"]


def test_a_link_under_the_name_of_a_checkpoint_in_a_directory_of_them_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "a").symlink_to(tmp_path / "other")
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
    assert (tmp_path / "other").read_bytes() == b"other"
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"


def make_device(path: Path) -> None:
    """Make a device like /dev/null, which takes everything."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make a device")


def make_socket(path: Path) -> None:
    os.mknod(path, 0o666 | stat.S_IFSOCK)


@pytest.mark.parametrize("make", [os.mkfifo, make_socket, make_device], ids=["pipe", "socket", "device"])
@pytest.mark.parametrize("through", ["", "a link"])
def test_what_is_no_regular_file_stays_and_nothing_is_written(
    make: Callable[[Path], None], through: str, tmp_path: Path
) -> None:
    make(tmp_path / "special")
    path = tmp_path / "special"
    if through:
        path = tmp_path / "link"
        path.symlink_to("special")
    kind = stat.S_IFMT(path.stat().st_mode)
    before = {*tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=r"special could not be written\n.*no regular file"):
        save_checkpoint(path, value=1)
    assert {*tmp_path.iterdir()} == before
    assert stat.S_IFMT((tmp_path / "special").stat().st_mode) == kind


def test_a_damaged_checkpoint_is_not_set_aside_in_place_of_a_pipe(tmp_path: Path) -> None:
    main_file(tmp_path, 3).write_bytes(b"damaged")
    os.mkfifo(tmp_path / f"{main_file(tmp_path, 3).name}.damaged")
    with pytest.raises(CheckpointError, match="no regular file"):
        set_aside(tmp_path, 3)
    assert main_file(tmp_path, 3).read_bytes() == b"damaged"


def test_a_link_that_waits_under_the_temporary_name_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / f".a.{os.getpid()}{directory.TEMPORARY}").symlink_to("other")
    save_checkpoint(tmp_path / "a", value=1)
    assert (tmp_path / "other").read_bytes() == b"other"
    assert load_checkpoint(tmp_path / "a", value=None) == {"value": 1}


def test_too_much_beside_the_tensors_is_refused(before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(container, "HEADER_LIMIT", 1000)
        with pytest.raises(
            CheckpointError, match=r"cannot hold this\n.* bytes beside the tensors, where at most 1,000"
        ):
            save(before)
    assert is_as_before(before)


def test_a_process_that_is_killed_while_it_writes_leaves_the_file_that_was_there(before: Path) -> None:
    code = """
import os, sys, torch
from deterministic import save_checkpoint
from deterministic.checkpoint import directory
directory.os.fsync = lambda descriptor: os._exit(9)
save_checkpoint(sys.argv[1], value=torch.arange(1000.0))
"""
    finished = subprocess.run([sys.executable, "-c", code, str(before)], check=False, timeout=120)
    assert finished.returncode == 9
    (left,) = (path for path in before.parent.iterdir() if path != before)
    assert left.name.endswith(directory.TEMPORARY)
    assert load_checkpoint(before, value=None) == {"value": "before"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full_leaves_the_file_that_was_there(small_disk: Path) -> None:
    path = small_disk / "a"
    save_checkpoint(path, value="before")
    with pytest.raises(CheckpointError, match=r"could not be written\n.*No space left on device"):
        save_checkpoint(path, value=torch.ones(1_000_000))
    assert is_as_before(path)
    save_checkpoint(path, value="after")
    assert load_checkpoint(path, value=None) == {"value": "after"}


@pytest.mark.parametrize("unmarked", [False, True], ids=["neither", "as 0.1.0 named it"])
def test_of_a_rank_whose_file_is_missing_the_name_that_its_main_file_expects_is_told(
    unmarked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in Checkpoint(tmp_path, model=Plain()).epochs(1):
        pass
    checksum = "0123456789abcdef" * 2
    main = Forgery(tmp_path / "step-00000000.safetensors")
    main.replace_text("head", {**main.text("head"), "ranks": ["", checksum]})
    missing = tmp_path / f"step-00000000.rank1.{checksum[:16]}.safetensors"
    old = tmp_path / "step-00000000.rank1.safetensors"
    if unmarked:
        old.write_bytes(b"")
    monkeypatch.setattr(loading, "the_ranks", lambda: Ranks(1, 2))
    with pytest.raises(CheckpointError, match=re.escape(f"{old if unmarked else missing} ")):
        Checkpoint(tmp_path, model=Plain())
