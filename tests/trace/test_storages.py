"""Where memory got its content from, remembered by weak references."""

from __future__ import annotations

import gc
import weakref

import torch

from deterministic.trace.file.model import COLLECTIVE, OUTSIDE, SEEN, THREAD, UNINITIALISED
from deterministic.trace.recording.storages import FEWEST, Storages


def test_what_was_never_met_came_from_outside_once() -> None:
    storages, x = Storages(), torch.ones(3)
    assert storages.read(x) == (OUTSIDE, None, "")
    assert storages.read(x[1:]) == (SEEN, None, "")
    assert storages.is_seen(x)


def test_what_another_thread_or_a_collective_wrote_is_told_once() -> None:
    for origin in (THREAD, COLLECTIVE):
        storages, x = Storages(), torch.ones(3)
        storages.mark(x, origin)
        assert not storages.is_seen(x)
        assert [storages.read(x)[0] for _ in range(2)] == [origin, SEEN]


def test_each_part_of_what_a_collective_wrote_is_told_until_all_of_it_was_read() -> None:
    storages, x = Storages(), torch.ones(4)
    storages.mark(x, COLLECTIVE)
    assert not storages.is_there(x[:2])
    assert [storages.read(part)[0] for part in (x[:2], x[2:], x, x[2:])] == [COLLECTIVE] * 3 + [SEEN]
    assert storages.is_there(x)


def test_uninitialised_memory_stays_so_until_all_of_it_was_written() -> None:
    storages, x = Storages(), torch.empty(4)
    storages.mark(x, UNINITIALISED)
    assert storages.wrote(x[:2], wholly=True) == ""
    assert storages.wrote(x, wholly=False) is None
    assert [storages.read(x)[0] for _ in range(2)] == [UNINITIALISED] * 2
    assert storages.wrote(x, wholly=True) == ""
    assert storages.read(x)[0] == SEEN


def test_memory_is_called_by_a_name_if_one_tensor_has_all_of_it() -> None:
    storages, x = Storages(), torch.ones(4)
    storages.call(x[:2], "half")
    assert storages.read(x) == (OUTSIDE, None, "")
    storages.call(x, "weight")
    assert storages.read(x[:2])[2] == "weight"
    assert storages.wrote(x, wholly=True) == "weight"
    storages.mark(x, THREAD)
    assert storages.read(x) == (THREAD, None, "weight")


def test_no_tensor_is_kept_alive_and_what_is_freed_is_forgotten() -> None:
    storages, kept = Storages(), torch.ones(1)
    storages.mark(kept, UNINITIALISED)
    x = torch.ones(3)
    storages.mark(x, SEEN)
    reference = weakref.ref(x)
    del x
    gc.collect()
    assert reference() is None
    for _ in range(3 * FEWEST):
        storages.mark(torch.ones(1), SEEN)
    assert len(storages) <= FEWEST
    assert storages.read(kept)[0] == UNINITIALISED


def test_a_new_storage_at_the_address_of_a_freed_one_is_another() -> None:
    storages = Storages()
    for _ in range(100):
        x = torch.ones(5)
        assert storages.read(x)[0] == OUTSIDE
        del x


def test_a_tensor_without_a_storage_has_no_origin() -> None:
    storages, sparse = Storages(), torch.eye(3).to_sparse()
    assert storages.read(sparse) == (SEEN, None, "")
    storages.mark(sparse, THREAD)
    storages.call(sparse, "weight")
    assert storages.made(sparse) == ""
    assert len(storages) == 0
