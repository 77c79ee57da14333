"""A file that was changed, cut or lengthened anywhere is refused; what is no checkpoint is called that."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic import load_checkpoint, save_checkpoint
from deterministic.checkpoint import container
from deterministic.checkpoint.container import write
from deterministic.errors import CheckpointError

from .written import NO_CHECKSUM, sealed

VALUES = {"x": torch.tensor([1.5, -2.0]), "y": {"a": (1, "b")}, "z": torch.tensor([7], dtype=torch.int8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@pytest.fixture(scope="module")
def small(folder: Path) -> bytes:
    write(folder / "small", {"a": 1}, VALUES)
    return (folder / "small").read_bytes()


@pytest.fixture(scope="module")
def full(folder: Path) -> bytes:
    save_checkpoint(folder / "full", **VALUES)
    return (folder / "full").read_bytes()


def assert_refused(path: Path, data: bytes | bytearray, read: Callable[[Path], object] = container.read) -> None:
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is damaged|is not a checkpoint") as caught:
        read(path)
    assert str(path) in str(caught.value)


def head_of(path: Path) -> object:
    return container.read(path, with_values=False)


def test_what_the_next_tests_change_can_be_read(folder: Path, small: bytes) -> None:
    found = container.read(folder / "small")
    assert found.head == {"a": 1}
    assert found.values["x"].tolist() == [1.5, -2.0]
    assert found.values["y"] == {"a": (1, "b")}
    assert found.sizes == {"x": 8, "z": 1}
    assert found.checksum.encode() in small


def test_every_changed_bit_of_a_file_is_noticed(folder: Path, small: bytes) -> None:
    for place in range(len(small)):
        for bit in range(8):
            changed = bytearray(small)
            changed[place] ^= 1 << bit
            assert_refused(folder / "a", changed)


def test_every_changed_byte_is_noticed_where_the_head_alone_is_read(folder: Path, small: bytes) -> None:
    for place in range(len(small)):
        changed = bytearray(small)
        changed[place] ^= 1 << place % 8
        assert_refused(folder / "a", changed, head_of)


def test_a_changed_checkpoint_is_not_loaded(folder: Path, full: bytes) -> None:
    model = torch.tensor(0.0)
    for place in [*range(0, len(full), 97), len(full) - 1]:
        changed = bytearray(full)
        changed[place] ^= 1 << place % 8
        assert_refused(folder / "a", changed, lambda path: load_checkpoint(path, x=0, y=0, z=0))
    assert model == 0


def test_a_file_that_is_cut_anywhere_is_refused(folder: Path, small: bytes) -> None:
    for size in range(len(small)):
        assert_refused(folder / "a", small[:size])
        assert_refused(folder / "a", small[:size], head_of)


@pytest.mark.parametrize("more", [b"\0", b" ", b"\0" * 8, b"x" * 1000])
def test_a_file_that_is_longer_is_refused(more: bytes, folder: Path, small: bytes) -> None:
    assert_refused(folder / "a", small + more)
    assert_refused(folder / "a", small * 2)
    assert_refused(folder / "a", more + small)


@given(data=st.data())
def test_a_file_that_is_changed_in_many_places_is_refused(folder: Path, small: bytes, data: st.DataObject) -> None:
    changed = bytearray(small)
    for _ in range(data.draw(st.integers(1, 5))):
        first = data.draw(st.integers(0, len(changed)))
        last = data.draw(st.integers(first, min(len(changed), first + 20)))
        changed[first:last] = data.draw(st.binary(max_size=20))
    if changed != small:
        assert_refused(folder / "a", changed)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused(folder: Path, data: bytes) -> None:
    assert_refused(folder / "a", data)
    assert_refused(folder / "a", struct.pack("<Q", len(data)) + data)
    text = b'{"__metadata__":{"checksum":"' + data
    assert_refused(folder / "a", struct.pack("<Q", len(text)) + text)


def test_these_tests_notice_a_reader_that_checks_nothing(
    folder: Path, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing:
        def __init__(self, data: object = b"") -> None:
            pass

        def update(self, data: object) -> None:
            pass

        def hexdigest(self) -> str:
            return NO_CHECKSUM

    monkeypatch.setattr(container, "xxh3_128", Nothing)
    write(folder / "unchecked", {"a": 1}, VALUES)
    unchecked = (folder / "unchecked").read_bytes()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_every_changed_bit_of_a_file_is_noticed(folder, unchecked)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        container.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_no_file_of_ours_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert "cannot be read\n  found: No such file or directory" in refusal(path)
    path.write_bytes(b"")
    assert "is not a checkpoint\n  found: 0 bytes with no header" in refusal(path)
    path.write_bytes(b"PK\x03\x04 a pickle of torch.save" + bytes(1000))
    assert "is not a checkpoint" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "cannot be read\n  found: Is a directory" in refusal(path)
    path.rmdir()
    path.symlink_to(path)
    assert "cannot be read\n  found: Too many levels of symbolic links" in refusal(path)


def test_a_file_of_the_safetensors_library_is_no_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(100)}, tmp_path / "a", {"checksum": "none"})
    assert "is not a checkpoint" in refusal(tmp_path / "a") or "is damaged" in refusal(tmp_path / "a")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    assert "is not a checkpoint" in refusal(tmp_path / "a")


def test_a_device_is_refused() -> None:
    assert "is not a checkpoint" in refusal(Path("/dev/zero"))


def test_a_format_of_another_version_is_named(tmp_path: Path) -> None:
    texts = {"format": "deterministic checkpoint 2"}
    (tmp_path / "a").write_bytes(sealed({"__metadata__": {"checksum": NO_CHECKSUM, **texts}}))
    text = refusal(tmp_path / "a")
    assert "is in a format that this version does not read" in text
    assert "found: 'deterministic checkpoint 2'" in text


def part(start: Any, stop: Any, shape: Any = (0,), dtype: Any = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


HEAD = {"checksum": NO_CHECKSUM, "format": "deterministic checkpoint 1"}
HEADERS: dict[str, Any] = {
    "a list": f'{{"__metadata__":{{"checksum":"{NO_CHECKSUM}"}}}}, []',
    "no end": f'{{"__metadata__":{{"checksum":"{NO_CHECKSUM}"',
    "deep": f'{{"__metadata__":{{"checksum":"{NO_CHECKSUM}"}},"x":' + "[" * 10**6,
    "a long number": f'{{"__metadata__":{{"checksum":"{NO_CHECKSUM}"}},"x":' + "7" * 10**6 + "}",
    "not ascii": f'{{"__metadata__":{{"checksum":"{NO_CHECKSUM}","é":"x"}}}}',
    "metadata twice": f'{{"__metadata__":{{"checksum":"{NO_CHECKSUM}"}},"__metadata__":[]}}',
    "infinite shape": f'{{"__metadata__":{{"checksum":"{NO_CHECKSUM}"}},"x":'
    '{"dtype":"U8","shape":[Infinity],"data_offsets":[0,16]}}',
    "metadata of numbers": {"__metadata__": {**HEAD, "x": 1}},
    "a part that is a number": {"__metadata__": HEAD, "x": 5},
    "a part that is nothing": {"__metadata__": HEAD, "x": {}},
    "too few offsets": {"__metadata__": HEAD, "x": {**part(0, 16), "data_offsets": [0]}},
    "texts for offsets": {"__metadata__": HEAD, "x": part("0", "16")},
    "fractions": {"__metadata__": HEAD, "x": part(0, 16.0)},
    "booleans": {"__metadata__": HEAD, "x": part(False, 16)},
    "beyond the end": {"__metadata__": HEAD, "x": part(0, 10**15)},
    "beyond all": {"__metadata__": HEAD, "x": part(0, 10**30)},
    "too short": {"__metadata__": HEAD, "x": part(0, 8)},
    "negative": {"__metadata__": HEAD, "x": part(0, -8), "y": part(-8, 16)},
    "overlapping": {"__metadata__": HEAD, "x": part(0, 16), "y": part(8, 16)},
    "a hole": {"__metadata__": HEAD, "x": part(0, 4), "y": part(8, 16)},
    "a shape that is a number": {"__metadata__": HEAD, "x": part(0, 16, 16)},
    "a shape of texts": {"__metadata__": HEAD, "x": part(0, 16, ["a"])},
    "no part": {"__metadata__": HEAD},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_is_wrong_is_refused_though_its_checksum_is_right(header: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(sealed(header, bytes(16)))
    assert "is damaged\n  found: a header that is wrong" in refusal(tmp_path / "a")


@pytest.mark.parametrize("length", [0, 1, 2**20, 10**8, 10**8 + 1, 2**63, 2**64 - 1])
def test_little_is_allocated_for_a_header_that_says_it_is_long(length: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(struct.pack("<Q", length) + b'{"__metadata__":{"checksum":"' + bytes(1000))
    tracemalloc.start()
    try:
        assert "is not a checkpoint" in refusal(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_for_which_there_is_no_memory_is_refused(
    folder: Path, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(size: int, **others: Any) -> torch.Tensor:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(torch, "empty", refuse)
    assert "cannot be read\n  found: can't allocate memory" in refusal(folder / "small")


def test_a_long_file_is_checked_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "PIECE", 64)
    tensor = torch.arange(100_003, dtype=torch.int64)
    write(tmp_path / "a", {"a": 1}, {"x": tensor, "y": tensor[:0].clone(), "z": tensor[:9].clone()})
    found = container.read(tmp_path / "a")
    assert torch.equal(found.values["x"], tensor)
    assert container.read(tmp_path / "a", with_values=False)[:3] == ({"a": 1}, {}, found.checksum)
    changed = bytearray((tmp_path / "a").read_bytes())
    changed[-100] ^= 1
    assert_refused(tmp_path / "a", changed)
    assert_refused(tmp_path / "a", changed, head_of)
