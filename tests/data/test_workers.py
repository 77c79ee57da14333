"""What a DataLoader owes its users: errors, timeouts, worker information, and no process or noise left behind."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import random
import signal
import time
import weakref
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from deterministic import make_loader, reproducible
from deterministic.data.samples.isolation import Isolated
from deterministic.errors import DeterministicError
from deterministic.scope.interrupt import INDIVISIBLE

from .datasets import Draws, Stream, batches, epochs, loader


class Broken(Draws):
    def __getitem__(self, index: int) -> torch.Tensor:
        raise KeyError(f"no image {index}")


class Slow(Draws):
    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(30)
        return super().__getitem__(index)


class Told(Draws):
    """Tells what its worker knows."""

    prefix = "unset"

    def __getitem__(self, index: int) -> Any:
        info: Any = get_worker_info()
        told = (None, None, None) if info is None else (info.id, info.num_workers, info.dataset is self)
        return self.prefix, told


def set_prefix(worker_id: int) -> None:
    info: Any = get_worker_info()
    info.dataset.prefix = f"set in {worker_id}"


def alive(after: float = 0) -> list[Any]:
    """Return the worker processes that run, or still run after so many seconds."""
    end = time.monotonic() + after
    while multiprocessing.active_children() and time.monotonic() < end:
        time.sleep(0.1)
    return multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_the_dataset_comes_with_its_traceback(workers: int) -> None:
    with pytest.raises(KeyError, match="no image") as caught:
        list(loader(Broken(), num_workers=workers))
    if workers:
        assert "DataLoader worker process 0" in str(caught.value)
        assert 'raise KeyError(f"no image {index}")' in str(caught.value)
    del caught  # its frames hold the iterator, in a cycle
    gc.collect()
    assert not alive(after=10)


def test_a_timeout_ends_the_wait() -> None:
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        next(iter(loader(Slow(), num_workers=1, timeout=1)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_know_who_they_are_and_have_the_users_dataset(method: str) -> None:
    arguments: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": method, "collate_fn": list}
    found = list(loader(Told(32), worker_init_fn=set_prefix, **arguments))
    assert [batch[0] for batch in found] == [(f"set in {n % 2}", (n % 2, 2, True)) for n in range(4)]
    assert get_worker_info() is None
    assert next(iter(loader(Told(), collate_fn=list)))[0] == ("unset", (None, None, None))


class Conjugates(Draws):
    """What carries a bit in place of its sign, and the value that it stands for."""

    def __getitem__(self, index: int) -> Any:
        conjugate = (torch.ones(2) * index + 1j).conj()
        imaginary = conjugate.imag
        assert (conjugate.is_conj(), imaginary.is_neg()) == (True, True)
        return conjugate, imaginary, conjugate.resolve_conj(), imaginary.resolve_neg()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_sends_a_conjugate_with_its_sign(method: str) -> None:
    """torch sends the memory alone: finding torch_conjugates_come_back_as_they_were_before."""
    arguments: dict[str, Any] = {"num_workers": 1, "multiprocessing_context": method, "batch_size": None}
    for conjugate, imaginary, value, part in loader(Conjugates(4), **arguments):
        assert torch.equal(conjugate, value)
        assert torch.equal(imaginary, part)
        assert imaginary[0] == -1


@pytest.mark.parametrize("persistent", [False, True])
def test_leaving_early_ends_the_workers(persistent: bool) -> None:
    iterated = loader(num_workers=2, persistent_workers=persistent)
    for _ in iterated:
        break
    if persistent:
        assert len(alive()) == 2
        assert epochs(iterated, 1) == [epochs(loader(), 2)[1]]
        del iterated
    assert not alive()


def test_a_loader_is_freed_at_once_and_its_workers_with_it() -> None:
    iterated = loader(num_workers=2, persistent_workers=True)
    epochs(iterated, 1)
    seen = weakref.ref(iterated)
    workers = alive()
    gc.disable()
    try:
        del iterated
        assert seen() is None, "it is part of a cycle"
    finally:
        gc.enable()
    # Collected with a cycle, the workers are not told to end, waited for in vain, and killed.
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_two_iterators_at_once_are_two_epochs() -> None:
    expected = epochs(loader(num_workers=1))
    iterated = loader(num_workers=1)
    one, two = iter(iterated), iter(iterated)
    assert [[a.tolist() for a in pair] for pair in zip(one, two, strict=True)] == [
        list(pair) for pair in zip(*expected, strict=True)
    ]


def test_with_persistent_workers_a_second_iterator_ends_the_first_and_says_so() -> None:
    expected = epochs(loader())
    iterated = loader(num_workers=1, persistent_workers=True)
    one = iter(iterated)
    next(one)
    two = iter(iterated)
    with pytest.raises(DeterministicError, match="persistent_workers=True, and iter"):
        next(one)
    assert [batch.tolist() for batch in two] == expected[1]


def test_an_iterator_has_the_length_of_an_epoch() -> None:
    assert len(iter(loader())) == len(loader()) == 7
    assert len(iter(loader(num_workers=1))) == 7


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_copied_loader_is_where_the_first_one_is(copied: Any) -> None:
    iterated = loader(num_workers=1, persistent_workers=True)
    first, second = epochs(iterated)
    batches(iter(iterated), 3)
    other = copied(iterated)
    assert other.state_dict() == iterated.state_dict()
    assert epochs(other, 1) == [epochs(loader(), 4)[3]]
    other.set_epoch(0)
    assert epochs(other) == [first, second]
    assert iterated.epoch == 2


@pytest.mark.filterwarnings("ignore:Got pickle error")
def test_an_iterator_that_cannot_start_costs_no_epoch_and_no_place() -> None:
    iterated = loader(num_workers=1, multiprocessing_context="spawn", collate_fn=lambda samples: torch.stack(samples))
    alone = loader()
    batches(iter(alone), 2)
    iterated.load_state_dict(alone.state_dict())
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        iter(iterated)
    assert iterated.state_dict() == alone.state_dict()


def seed_of_worker(worker_id: int) -> None:
    info: Any = get_worker_info()
    info.dataset.prefix = torch.initial_seed()


def test_what_a_worker_init_fn_sees_as_the_seed_is_another_every_epoch_and_the_same_again() -> None:
    def seen() -> list[int]:
        iterated = loader(Told(2), batch_size=2, num_workers=1, collate_fn=list, worker_init_fn=seed_of_worker)
        return [batch[0][0] for _ in range(2) for batch in iterated]

    assert seen() == seen()
    assert len(set(seen())) == 2


def test_a_default_device_that_was_set_and_unset_is_no_obstacle() -> None:
    with reproducible(seed=None, deterministic=False):
        torch.set_default_device("cpu")
        torch.set_default_device(None)
        assert epochs(loader()) == epochs(loader(num_workers=1))


def test_num_workers_can_be_changed_between_epochs() -> None:
    expected = epochs(loader())
    iterated = loader()
    assert epochs(iterated, 1) == expected[:1]
    iterated.num_workers = 2
    iterated.prefetch_factor = 2
    assert epochs(iterated, 1) == expected[1:]


@pytest.mark.parametrize("arguments", [{}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_a_collate_fn_can_be_assigned_as_to_any_dataloader(arguments: dict[str, Any]) -> None:
    iterated = loader(**arguments)
    assert isinstance(next(iter(iterated)), torch.Tensor)
    iterated.collate_fn = list
    assert isinstance(next(iter(iterated)), list)


def test_a_dataset_that_makes_batches_gets_what_its_batch_sampler_gave() -> None:
    class Flipped(Draws):
        def __getitems__(self, indices: torch.Tensor) -> list[torch.Tensor]:
            return [self[int(index)] for index in indices.flip(0)]

    made = loader(Flipped(), batch_sampler=[torch.tensor([1, 2]), torch.tensor([3, 4])])
    assert [[row[0] for row in batch] for batch in epochs(made, 1)[0]] == [[2, 1], [4, 3]]


@pytest.mark.parametrize("kind", [list, tuple, deque, dict.fromkeys, iter, np.array, torch.tensor])
@pytest.mark.parametrize("randomness", ["sample", "batch"])
def test_a_batch_sampler_may_give_anything_that_has_indices_in_an_order(kind: Any, randomness: str) -> None:
    given = [[1, 2, 3], [2, 4]]
    expected = epochs(loader(batch_sampler=given, randomness=randomness), 1)
    made = loader(batch_sampler=map(kind, given), randomness=randomness)
    assert epochs(made, 1) == expected


def test_outside_of_a_scope_ctrl_c_waits_for_the_generators_to_be_put_back() -> None:
    def handler() -> Any:
        return type(signal.getsignal(signal.SIGINT)).__module__

    class Handled(Draws):
        def __getitem__(self, index: int) -> Any:
            return handler()

    before = handler()
    assert next(iter(loader(Handled(), collate_fn=list)))[0] == "deterministic.scope.interrupt" != before
    assert handler() == before
    assert {Isolated.__enter__.__code__, Isolated.__exit__.__code__} <= INDIVISIBLE


def test_the_collate_fn_of_a_loader_can_be_called_by_hand() -> None:
    iterated = loader(collate_fn=list)
    assert iterated.collate_fn([1, 2]) == [1, 2]
    assert repr(iterated.collate_fn) == repr(list)


def test_a_loader_built_again_from_its_parts_is_refused_instead_of_losing_its_keys() -> None:
    iterated = loader()
    rebuilt = torch.utils.data.DataLoader(Draws(), batch_sampler=iterated.batch_sampler, collate_fn=iterated.collate_fn)
    with reproducible(0), pytest.raises(DeterministicError, match=r"without its keys[\s\S]*prepare"):
        next(iter(rebuilt))
    with reproducible(0):
        again = torch.utils.data.DataLoader(Stream(), 8, collate_fn=loader(Stream()).collate_fn)
        with pytest.raises(DeterministicError, match="without its keys"):
            next(iter(again))


def test_a_scope_in_the_dataset_gives_back_what_the_sample_draws_next() -> None:
    class Scoped(Draws):
        def __getitem__(self, index: int) -> torch.Tensor:
            with reproducible(1):
                inside = random.random()
            return torch.tensor([inside, random.random()], dtype=torch.float64)

    assert epochs(loader(Scoped())) == epochs(loader(Scoped(), num_workers=1))


def test_an_open_scope_does_not_reach_into_the_samples() -> None:
    outside = epochs(loader())
    with reproducible(1):
        assert epochs(make_loader(Draws(), 8, shuffle=True, seed=7)) == outside
        assert epochs(make_loader(Draws(), 8, shuffle=True, seed=7, num_workers=1)) == outside
