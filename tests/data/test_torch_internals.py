"""What the loader leans on and torch's documentation does not promise: a torch that changed one of them fails here."""

from __future__ import annotations

import ast
import gc
import inspect
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, StackDataset, Subset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from deterministic import reproducible
from deterministic.data.samples import torch_internals
from deterministic.data.samples.fetch import makes_batches

from .datasets import Draws, InBatches, Stream


def by_a_fetcher(samples: Any) -> bool:
    return torch_internals.called_by_a_fetcher()


@pytest.mark.parametrize("dataset", [Draws(), Stream()], ids=["indices", "stream"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_collating_is_done_by_the_fetchers_that_are_known(dataset: Any, batch_size: int | None) -> None:
    with reproducible(seed=None, deterministic=False):
        for workers in (0, 1):
            plain = DataLoader(dataset, batch_size, collate_fn=by_a_fetcher, num_workers=workers)
            assert next(iter(plain)) is True
    assert by_a_fetcher([]) is False


class Identity(Draws):
    def __getitem__(self, index: int) -> Any:
        info: Any = get_worker_info()
        return info.id, info.num_workers, info.dataset


def rename(worker_id: int) -> None:
    torch_internals.set_worker(id=worker_id + 5, dataset="another")


def test_the_worker_information_can_be_set_though_it_is_frozen() -> None:
    plain = DataLoader(
        Identity(), 1, num_workers=1, worker_init_fn=rename, collate_fn=list, generator=torch.Generator()
    )
    assert next(iter(plain)) == [(5, 1, "another")]


def test_a_fetcher_asks_the_dataset_for_a_whole_batch_as_the_sampler_gave_it() -> None:
    class Asked(Draws):
        def __getitems__(self, indices: Any) -> list[Any]:
            return [indices]

    class Batch(list[int]):
        pass

    given = Batch([1, 2])
    (found,) = next(iter(DataLoader(Asked(), batch_sampler=[given], collate_fn=list, generator=torch.Generator())))
    assert found is given


def test_an_iterator_with_workers_does_nothing_when_it_is_collected_as_shut_down() -> None:
    iterator = iter(DataLoader(Draws(), num_workers=1, generator=torch.Generator()))
    assert isinstance(iterator, _MultiProcessingDataLoaderIter)
    assert iterator._shutdown is False
    source = inspect.getsource(_MultiProcessingDataLoaderIter._shutdown_workers)
    assert "if not self._shutdown:" in source
    assert "self._shutdown_workers()" in inspect.getsource(_MultiProcessingDataLoaderIter.__del__)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_disowns_them() -> None:
    iterator: Any = iter(DataLoader(Draws(), num_workers=1, generator=torch.Generator()))
    torch_internals.disown_in_forked_children(iterator)
    pid = os.fork()
    if pid == 0:
        iterator.__del__()
        os._exit(1 if iterator._shutdown else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    iterator.__del__()
    assert iterator._shutdown is True


@pytest.mark.parametrize("guarded", [True, False])
def test_workers_are_asked_to_end_by_an_iterator_in_a_cycle(guarded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not guarded:
        monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)  # seconds: it is waited for
    iterator: Any = iter(DataLoader(Draws(), num_workers=1, generator=torch.Generator()))
    if guarded:
        torch_internals.end_workers_gently(iterator)
    (worker,) = iterator._workers
    kills: list[bool] = []
    monkeypatch.setattr(worker, "terminate", lambda: kills.append(True))
    cycle = [iterator]
    cycle.append(cycle)
    del iterator, cycle
    gc.collect()
    worker.kill()
    worker.join()
    assert kills == ([] if guarded else [True])


def test_batches_received_are_counted_also_those_that_raised() -> None:
    class Odd(Draws):
        def __getitem__(self, index: int) -> torch.Tensor:
            if index == 1:
                raise KeyError(index)
            return super().__getitem__(index)

    iterator = iter(DataLoader(Odd(), num_workers=1, generator=torch.Generator()))
    assert torch_internals.retired(iterator) == 0
    next(iterator)
    assert torch_internals.retired(iterator) == 1
    with pytest.raises(KeyError):
        next(iterator)
    assert torch_internals.retired(iterator) == 2


def test_an_iterators_sampler_is_asked_for_its_fetches_without_a_first_next() -> None:
    started = []

    class Lazy:
        def __iter__(self) -> Any:
            yield from self._given()

        def _given(self) -> Any:
            started.append(1)
            yield [0]

    iterator = iter(DataLoader(Draws(), batch_sampler=Lazy(), num_workers=1, generator=torch.Generator()))
    list(iterator)
    assert started == [1]


def test_the_default_device_decides_where_the_base_seed_is_drawn() -> None:
    # pytorch/pytorch#44714: a CPU generator and another default device do not go together.
    with torch.device("meta"), pytest.raises(RuntimeError):
        iter(DataLoader(Draws(), generator=torch.Generator("cpu")))


def test_subsets_and_stacks_only_pass_on_what_is_inside() -> None:
    assert callable(Subset.__getitems__)
    assert callable(StackDataset.__getitems__)
    assert not makes_batches(Subset(Draws(), [0]))
    assert not makes_batches(Subset(Subset(Draws(), [0]), [0]))
    assert makes_batches(Subset(InBatches(), [0]))
    assert not makes_batches(StackDataset(Draws(), Draws()))
    assert makes_batches(StackDataset(Draws(), InBatches()))
    assert makes_batches(StackDataset(a=InBatches()))

    class Own(Subset[Any]):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return super().__getitems__(indices)

    assert makes_batches(Own(Draws(), [0]))
    assert not hasattr(IterableDataset, "__getitems__")


def test_the_private_names_are_in_one_module() -> None:
    folder = Path(torch_internals.__file__).parent
    private = {}
    for file in folder.parent.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imported = [
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch")
            for alias in node.names
        ]
        private[file.name] = [name for name in imported if "._" in name]
    assert private.pop("torch_internals.py")
    assert not any(private.values()), private
