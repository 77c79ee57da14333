"""`make_loader`: where the seed comes from, which arguments it takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import MapDataPipe, Sampler, SequentialSampler, WeightedRandomSampler
from torch.utils.data.datapipes.iter import IterableWrapper

from deterministic import derive_seed, make_loader, reproducible
from deterministic.data.keyed_loader import ReproducibleDataLoader
from deterministic.errors import SeedError

from ..processes import run_python
from .datasets import Draws, Stream, epochs, loader


def test_in_a_scope_the_seed_is_the_scopes_unless_one_is_given() -> None:
    with reproducible(5):
        assert make_loader(Draws()).seed == 5
        assert make_loader(Draws(), seed=6).seed == 6
        with reproducible(8):
            assert make_loader(Draws()).seed == 8
    with reproducible(5) as run, run.allow_nondeterministic():
        assert make_loader(Draws()).seed == 5


def test_a_seed_that_is_each_ranks_own_is_not_the_loaders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with reproducible(5, per_rank=True) as run:
        assert run.seed == derive_seed(5, "rank", 1)
        assert make_loader(Draws()).seed == 5
        with run.allow_nondeterministic():
            assert make_loader(Draws()).seed == 5
        with reproducible():
            assert make_loader(Draws()).seed == 5
        with reproducible(6):
            assert make_loader(Draws()).seed == 6


def test_two_loaders_of_one_scope_have_one_seed() -> None:
    with reproducible(5):
        one, two = make_loader(Draws(), 8, True), make_loader(Draws(), 8, True)
        assert epochs(one) == epochs(two)


def test_without_a_seed_it_is_drawn_from_torch_at_the_first_iteration() -> None:
    with reproducible(seed=None, deterministic=False):
        torch.manual_seed(1)
        iterated = make_loader(Draws(), 8, shuffle=True)
        first = epochs(iterated)
        torch.manual_seed(1)
        assert epochs(make_loader(Draws(), 8, shuffle=True)) == first
        assert epochs(make_loader(Draws(), 8, shuffle=True)) != first
    with reproducible(enabled=False), reproducible(seed=None, deterministic=False):
        assert len(list(make_loader(Draws()))) == 50
    with reproducible(enabled=False):
        iterated = make_loader(Draws(), seed=3)
        iterated.set_epoch(1)
        assert epochs(iterated, 1) == [epochs(make_loader(Draws(), seed=3))[1]]


def test_with_neither_seed_nor_scope_it_raises_and_says_how_to_give_one() -> None:
    with pytest.raises(SeedError, match=r"seed=[\s\S]*with reproducible"):
        make_loader(Draws())


@pytest.mark.parametrize("seed", [None, True, "5", 1.0, -1, 2**64])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(SeedError, match="seed is"):
        make_loader(Draws(), seed=seed)


def test_a_generator_gives_the_seed_and_moves_on() -> None:
    def made(generator: torch.Generator) -> list[Any]:
        return epochs(make_loader(Draws(), 8, shuffle=True, generator=generator), 1)

    one = torch.Generator().manual_seed(5)
    first, second = made(one), made(one)
    assert first != second
    assert made(torch.Generator().manual_seed(5)) == first
    after = one.get_state()
    epochs(make_loader(Draws(), seed=1))
    assert torch.equal(one.get_state(), after)


def test_seed_and_generator_together_are_refused() -> None:
    with pytest.raises(TypeError, match="a seed or a generator, not both"):
        make_loader(Draws(), seed=5, generator=torch.Generator())


@pytest.mark.parametrize("randomness", ["samples", None, 1, ["sample"]])
def test_another_randomness_is_refused_and_the_schemes_are_named(randomness: Any) -> None:
    with pytest.raises(ValueError, match=r"is not one of its choices[\s\S]*'sample'[\s\S]*'batch'[\s\S]*'worker'"):
        make_loader(Draws(), seed=5, randomness=randomness)


def test_an_argument_that_dataloader_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="num_worker"):
        make_loader(Draws(), seed=5, num_worker=2)


def test_all_arguments_of_dataloader_are_taken() -> None:
    sampler: Sampler[int] = SequentialSampler(range(4))
    arguments: dict[str, Any] = {
        "sampler": sampler,
        "num_workers": 2,
        "pin_memory": False,
        "drop_last": True,
        "timeout": 3,
        "worker_init_fn": print,
        "multiprocessing_context": "spawn",
        "prefetch_factor": 4,
        "persistent_workers": True,
        "in_order": True,
    }
    made = make_loader(Draws(), 2, seed=5, **arguments)
    assert isinstance(made, ReproducibleDataLoader)
    assert made.multiprocessing_context is not None
    assert made.multiprocessing_context.get_start_method() == "spawn"
    assert {name: getattr(made, name) for name in arguments if name != "multiprocessing_context"} == {
        name: value for name, value in arguments.items() if name != "multiprocessing_context"
    }
    assert made.batch_size == 2


def test_what_dataloader_itself_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="num_workers option should be non-negative"):
        make_loader(Draws(), num_workers=-1, seed=0)
    with pytest.raises(ValueError, match="persistent_workers option needs num_workers > 0"):
        make_loader(Draws(), persistent_workers=True, seed=0)
    with pytest.raises(ValueError, match="batch_size should be a positive integer"):
        make_loader(Draws(), 0, seed=0)
    with pytest.raises(ValueError, match="drop_last"):
        make_loader(Draws(), None, drop_last=True, seed=0)


def test_batches_in_any_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in_order=False lets[\s\S]*Pass in_order=True"):
        make_loader(Draws(), num_workers=2, in_order=False, seed=0)


@pytest.mark.parametrize("name", ["sampler", "batch_sampler"])
def test_two_orders_for_one_loader_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"shuffle and {name}[\s\S]*Leave one"):
        loader(shuffle=True, **{name: WeightedRandomSampler([1.0], 1)})


@pytest.mark.parametrize("shuffle", [2, 1, 0, 0.5, [], np.ones(2, dtype=bool)], ids=str)
@pytest.mark.parametrize("randomness", ["sample", "worker"])
def test_what_is_no_order_is_refused(shuffle: Any, randomness: Any) -> None:
    with pytest.raises(TypeError, match=r"shuffle= is True or False, or \"blocks\".*\n  shuffle: "):
        make_loader(Draws(), 8, shuffle=shuffle, seed=0, randomness=randomness)


def test_a_bool_of_numpys_is_an_order() -> None:
    for shuffle in (True, False):
        given: Any = np.bool_(shuffle)
        assert epochs(make_loader(Draws(), 8, shuffle=given, seed=0)) == epochs(loader(shuffle=shuffle, seed=0))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"batch_size": 1}, "batch_size: 1"),
        ({"batch_size": None}, "batch_size: None"),
        ({"sampler": [1, 2]}, "sampler"),
        ({"batch_sampler": [[1, 2]]}, "batch_sampler"),
        ({"randomness": "worker"}, "worker"),
    ],
    ids=str,
)
def test_a_global_batch_size_goes_with_nothing_else_that_cuts_batches(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(TypeError, match=rf"global_batch_size=[\s\S]*{named}"):
        make_loader(Draws(), global_batch_size=4, seed=0, **arguments)


@pytest.mark.parametrize("size", [0, -4, 1.5, "4", True])
def test_what_is_no_global_batch_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="global_batch_size is not a positive integer"):
        make_loader(Draws(), global_batch_size=size, seed=0)


@pytest.mark.parametrize(("threads", "error"), [(0, ValueError), ("2", TypeError), (1.0, TypeError), (None, TypeError)])
def test_what_is_no_number_of_threads_is_refused(threads: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="worker_threads is"):
        make_loader(Draws(), worker_threads=threads, seed=0)


def test_what_is_no_generator_is_refused() -> None:
    for generator in ("abc", 5, np.random.default_rng(0)):
        with pytest.raises(TypeError, match=r"generator is not a torch\.Generator"):
            loader(generator=generator)


def test_a_numpy_integer_is_a_batch_size() -> None:
    assert next(iter(loader(global_batch_size=np.int64(4)))).shape[0] == 4


def test_making_a_loader_does_not_fix_the_start_method_of_the_process() -> None:
    code = """
import multiprocessing
from deterministic import make_loader
make_loader([1, 2], num_workers=1, seed=0)
print(multiprocessing.get_start_method(allow_none=True))
"""
    assert run_python(code) == "None"


def test_shard_must_be_a_bool() -> None:
    with pytest.raises(TypeError, match=r"shard is not a bool[\s\S]*Pass shard=True or shard=False"):
        loader(shard=1)


@pytest.mark.parametrize("arguments", [{"shard": False}, {"worker_threads": 2}], ids=str)
def test_the_standard_recipe_has_neither_shards_nor_threads(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r'randomness="worker" is a plain DataLoader'):
        make_loader(Draws(), randomness="worker", seed=0, **arguments)


def test_a_dataset_without_a_length_needs_a_sampler() -> None:
    class Endless:
        def __getitem__(self, index: int) -> int:
            return index

    endless: Any = Endless()
    with pytest.raises(TypeError, match=r"has no length[\s\S]*sampler"):
        make_loader(endless, seed=0)
    assert [batch.tolist() for batch in make_loader(endless, 2, sampler=[7, 8], seed=0)] == [[7, 8]]


def test_datapipes_are_refused() -> None:
    class Pipe(MapDataPipe[int]):
        def __getitem__(self, index: int) -> int:
            return index

    for pipe in (IterableWrapper([1, 2]), Pipe()):
        with pytest.raises(TypeError, match=r"DataPipe[\s\S]*worker"):
            make_loader(pipe, seed=0)


def test_notes_say_what_depends_on_batches() -> None:
    with reproducible(0) as run:
        make_loader(Draws(), randomness="batch")
        make_loader(Stream())
        make_loader(Draws())
        notes = [entry["notes"] for entry in run.report().data["loaders"]]
    assert "batch_size" in notes[0][0]
    assert "num_workers" in notes[1][0]
    assert notes[2] == []
