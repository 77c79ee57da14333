"""What a directory of checkpoints contains, what is deleted there and what is not."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from deterministic import Checkpoint
from deterministic.checkpoint.conditions import conditions, generator_states
from deterministic.checkpoint.container import write
from deterministic.checkpoint.directory import (
    delete_replaced,
    directory_of,
    file_of_rank,
    main_file,
    prune,
    saved_steps,
    sweep,
)
from deterministic.errors import CheckpointError
from deterministic.ground.repetition import checkpoints_in

FOREIGN = [
    "notes.txt",
    "model.safetensors",
    "step-1.safetensors",
    "step-0000001.safetensors",
    "step-000000001.safetensors",
    "step-" + "\u0660" * 7 + "\u0661.safetensors",
    "step-00000001.safetensors.bak",
    "xstep-00000001.safetensors",
    "step-00000001.rank0.safetensors",
    "step-0000000x.safetensors",
    ".lock",
    ".step-00000001.safetensors",
    "step-00000001.safetensors.tmp",
]


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def fill(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"x")


def test_files_have_the_names_that_are_found(tmp_path: Path) -> None:
    for steps, name in ((0, "step-00000000"), (12, "step-00000012"), (10**9, "step-1000000000")):
        main = main_file(tmp_path, steps)
        assert main == tmp_path / f"{name}.safetensors"
        assert file_of_rank(main, 12) == tmp_path / f"{name}.rank12.safetensors"
        assert file_of_rank(main, 0, "0123456789abcdef" * 2) == tmp_path / f"{name}.rank0.0123456789abcdef.safetensors"
        fill(tmp_path, f"{name}.safetensors", f"{name}.rank12.safetensors")
    assert saved_steps(tmp_path) == [0, 12, 10**9]


def test_other_files_are_no_checkpoints_and_are_left(tmp_path: Path) -> None:
    fill(tmp_path, *FOREIGN)
    (tmp_path / "step-00000007.safetensors").mkdir()
    (tmp_path / ".step-00000007.safetensors.1.tmp").mkdir()
    (tmp_path / "step-00000007.rank1.safetensors").mkdir()
    before = names(tmp_path)
    assert saved_steps(tmp_path) == []
    sweep(tmp_path)
    prune(tmp_path, 0, None)
    assert names(tmp_path) == before


def test_links_are_no_checkpoints(tmp_path: Path) -> None:
    fill(tmp_path, "other", "step-00000001.safetensors")
    (tmp_path / "step-00000002.safetensors").symlink_to(tmp_path / "other")
    (tmp_path / "step-00000003.safetensors").symlink_to(tmp_path / "nothing")
    assert saved_steps(tmp_path) == [1]
    prune(tmp_path, 1, None)
    assert (tmp_path / "step-00000001.safetensors").exists()


def test_sweeping_deletes_what_killed_processes_left_and_nothing_else(tmp_path: Path) -> None:
    whole = {"step-00000002.safetensors", "step-00000002.rank1.safetensors", "notes.txt", ".other.tmp", ".lock"}
    left = {
        ".step-00000003.safetensors.123.tmp",
        ".step-00000002.rank1.safetensors.123.tmp",
        "step-00000003.rank1.safetensors",
        "step-00000001.rank12.safetensors",
    }
    fill(tmp_path, *whole, *left)
    sweep(tmp_path)
    assert names(tmp_path) == whole


@pytest.mark.parametrize(
    ("keep", "keep_every", "kept"),
    [
        (None, None, [0, 1, 2, 3, 4, 5, 6]),
        (None, 2, [0, 1, 2, 3, 4, 5, 6]),
        (1, None, [6]),
        (3, None, [4, 5, 6]),
        (7, None, [0, 1, 2, 3, 4, 5, 6]),
        (100, None, [0, 1, 2, 3, 4, 5, 6]),
        (1, 3, [0, 3, 6]),
        (2, 4, [0, 4, 5, 6]),
        (2, 100, [0, 5, 6]),
    ],
)
def test_the_last_ones_are_kept_and_those_of_every_so_many_steps(
    keep: int | None, keep_every: int | None, kept: list[int], tmp_path: Path
) -> None:
    for steps in range(7):
        main = main_file(tmp_path, steps)
        fill(tmp_path, main.name, file_of_rank(main, 0, "0" * 32).name, file_of_rank(main, 1).name)
    fill(tmp_path, "notes.txt")
    prune(tmp_path, keep, keep_every)
    assert saved_steps(tmp_path) == kept
    mains = [main_file(tmp_path, steps) for steps in kept]
    expected = {
        name for main in mains for name in (main.name, file_of_rank(main, 0, "0" * 32).name, file_of_rank(main, 1).name)
    }
    assert names(tmp_path) == expected | {"notes.txt"}


def test_a_checkpoint_goes_with_its_main_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_ranks = [file_of_rank(main_file(tmp_path, 1), rank, "0" * 32).name for rank in range(3)]
    fill(tmp_path, main_file(tmp_path, 1).name, *of_ranks, main_file(tmp_path, 2).name)
    gone: list[str] = []
    unlink = os.unlink

    def watched(path: str | Path) -> None:
        gone.append(Path(path).name)
        unlink(path)

    monkeypatch.setattr(os, "unlink", watched)
    prune(tmp_path, 1, None)
    assert gone[0] == main_file(tmp_path, 1).name
    assert {*gone[1:]} == {*of_ranks}


def test_what_ranks_had_of_a_step_before_it_was_saved_again_is_deleted(tmp_path: Path) -> None:
    checksums, main = ["", "1" * 32, "2" * 32], main_file(tmp_path, 4)
    now = {main.name, *(file_of_rank(main, rank, checksum).name for rank, checksum in enumerate(checksums) if rank)}
    before = {file_of_rank(main, 1, "3" * 32).name, file_of_rank(main, 0, "3" * 32).name, file_of_rank(main, 2).name}
    others = {file_of_rank(main_file(tmp_path, 3), 1, "3" * 32).name, "step-00000004.rank1.notes.safetensors"}
    fill(tmp_path, *now, *before, *others)
    delete_replaced(main, checksums)
    assert names(tmp_path) == now | others


@pytest.mark.parametrize("name", ["a.safetensors", "a", "a.pt"])
def test_beside_a_file_of_ones_own_name_only_what_ranks_of_it_wrote_is_deleted(tmp_path: Path, name: str) -> None:
    main = tmp_path / name
    others = {"a", "a.safetensors", "a.pt", "a.rank1", "a.rank1.safetensors", "a.rank1.pt", "a.rank1.0123"}
    others |= {file_of_rank(tmp_path / other, 1, "4" * 32).name for other in ("a.safetensors", "a", "a.pt", "aa")}
    kept, gone = file_of_rank(main, 1, "4" * 32), file_of_rank(main, 12, "5" * 32)
    fill(tmp_path, *others, gone.name)
    delete_replaced(main, ["", "4" * 32])
    assert names(tmp_path) == others | {kept.name}


def test_a_directory_is_made(tmp_path: Path) -> None:
    assert directory_of(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    assert directory_of(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"


def test_a_file_cannot_be_the_directory(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(CheckpointError, match="cannot be the directory of checkpoints"):
            directory_of(path)


def test_a_repetition_has_directories_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "a"
    own.mkdir()
    fill(own, "step-00000001.safetensors")
    fresh = tmp_path / "fresh"
    with checkpoints_in(tmp_path / "outer"), checkpoints_in(fresh):
        first, second = directory_of(own), directory_of(tmp_path / "b")
        assert first.parent == second.parent == fresh
        assert first != second
        assert saved_steps(first) == []
        monkeypatch.chdir(tmp_path)
        assert directory_of("a") == first
        with ThreadPoolExecutor() as pool:
            assert pool.submit(directory_of, own).result() == first
    assert not (tmp_path / "b").exists()
    assert names(own) == {"step-00000001.safetensors"}


def test_outside_of_a_repetition_nothing_is_fresh(tmp_path: Path) -> None:
    with pytest.raises(KeyError), checkpoints_in(tmp_path / "fresh"):
        raise KeyError
    assert directory_of(tmp_path / "a") == tmp_path / "a"


def test_a_main_file_that_leads_out_of_its_folder_to_those_of_ranks_is_refused(tmp_path: Path) -> None:
    parts = {"generators": generator_states(None), "objects": {}, "values": {}}
    head = {"steps": 1, "epoch": 0, "loaders": [], "conditions": conditions()}
    for rank, is_refused in (("a1" * 16, False), ("/../../a", True), (3, True)):
        write(main_file(tmp_path, 1), {**head, "ranks": ["", rank]}, parts)
        with pytest.raises(CheckpointError) if is_refused else nullcontext() as refused:
            Checkpoint(tmp_path).close()
        assert not is_refused or (refused is not None and "ranks: ['', " in str(refused.value))
