"""Lightning and Accelerate: what they do with a loader keeps its samples, or is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.state import AcceleratorState, GradientState
from lightning_fabric import Fabric
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

from deterministic.errors import DeterministicError

from ..processes import ROOT
from .datasets import Draws, SeekableStream, epochs, loader, mixing

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated"),  # Lightning's own code
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

LENGTH = 22
"""Two batches of 8, and one of 6."""


class Recorder(pl.LightningModule):
    """Keeps the batches that it is given."""

    def __init__(self, save_at: tuple[int, int] | None = None, path: Path | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.trained: list[list[Any]] = []
        self.validated: list[list[Any]] = []
        self.save_at = save_at
        self.path = path

    def on_train_epoch_start(self) -> None:
        self.trained.append([])

    def on_validation_epoch_start(self) -> None:
        self.validated.append([])

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        self.trained[-1].append(batch.tolist())
        return self.weight * batch.sum()

    def validation_step(self, batch: torch.Tensor, number: int) -> None:
        self.validated[-1].append(batch.tolist())

    def predict_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        return batch.clone()

    def on_train_batch_end(self, outputs: Any, batch: Any, number: int) -> None:
        if self.save_at == (self.current_epoch, number):
            self.trainer.save_checkpoint(self.path)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(**arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"devices": 1, **arguments},
    )


def data(**arguments: Any) -> Any:
    return loader(Draws(LENGTH), **arguments)


def predictions(module: pl.LightningModule, *loaders: Any) -> list[Any]:
    found: Any = trainer().predict(module, *loaders)
    return [batch.tolist() for batch in found]


LOADERS: dict[str, Callable[..., Any]] = {
    "shuffled": data,
    "sequential": lambda **more: data(shuffle=False, **more),
    "global": lambda **more: data(global_batch_size=8, **more),
    "by_batch": lambda **more: data(randomness="batch", collate_fn=mixing, **more),
    "sampler": lambda **more: data(sampler=RandomSampler(range(LENGTH)), **more),
    "batch_sampler": lambda **more: data(batch_sampler=BatchSampler(SequentialSampler(range(LENGTH)), 4, True), **more),
}
every_loader = pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
shuffles = pytest.mark.filterwarnings("ignore:Your `predict_dataloader`'s sampler has shuffling enabled")


@every_loader
@pytest.mark.parametrize("workers", [0, 1])
def test_a_trainer_sees_what_plain_iteration_gives(make: Callable[..., Any], workers: int) -> None:
    module = Recorder()
    trainer(max_epochs=3).fit(module, make(num_workers=workers))
    assert module.trained == epochs(make(), 3)


def test_a_loader_made_in_a_hook_of_the_module_is_the_same() -> None:
    class Hooked(Recorder):
        def train_dataloader(self) -> Any:
            return data()

    module = Hooked()
    trainer(max_epochs=2).fit(module)
    assert module.trained == epochs(data())


def test_validation_is_not_shuffled_and_whole_each_time() -> None:
    module = Recorder()
    validation = data(shuffle=False)
    trainer(max_epochs=2, num_sanity_val_steps=2).fit(module, data(), validation)
    first, second = epochs(data(shuffle=False))
    assert module.validated == [first[:2], first, second]
    assert [sample[0] for batch in module.validated[2] for sample in batch] == list(range(LENGTH))
    assert module.trained == epochs(data())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("make", [LOADERS["shuffled"], LOADERS["sampler"]], ids=["shuffled", "sampler"])
def test_a_trainer_resumes_in_the_middle_of_an_epoch(make: Callable[..., Any], workers: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    trainer(max_epochs=3).fit(Recorder((1, 0), path), make(num_workers=workers))
    resumed = Recorder()
    trainer(max_epochs=3).fit(resumed, make(num_workers=workers), ckpt_path=path, weights_only=True)
    _, second, third = epochs(make(), 3)
    assert [epoch for epoch in resumed.trained if epoch] == [second[1:], third]


@shuffles
@every_loader
@pytest.mark.parametrize("workers", [0, 1])
def test_predictions_are_of_the_same_samples(make: Callable[..., Any], workers: int) -> None:
    # Lightning builds the loader again, around a batch sampler of its own that notes the indices.
    ours = make(num_workers=workers)
    assert predictions(Recorder(), ours) == predictions(Recorder(), ours) == epochs(make(), 1)[0]


def test_predictions_with_a_loader_made_in_a_hook_are_of_the_same_samples() -> None:
    class Hooked(Recorder):
        def predict_dataloader(self) -> Any:
            return data(shuffle=False)

    assert predictions(Hooked()) == epochs(data(shuffle=False), 1)[0]


def test_fabric_gives_the_same_batches() -> None:
    prepared: Any = Fabric(accelerator="cpu", devices=1).setup_dataloaders(data())
    assert epochs(prepared, 3) == epochs(data(), 3)


SCRIPT = """
import json, sys
import torch
torch.set_num_threads(1)
from torch.utils.data import RandomSampler
from tests.data.test_frameworks import Recorder, data, trainer

found = {}
for name, made in (("own", data(global_batch_size=4)), ("sampler", data(sampler=RandomSampler(range(22))))):
    module = Recorder()
    ddp = trainer(strategy="ddp", devices=2, max_epochs=2)
    ddp.fit(module, made)
    found[name] = module.trained
    found[name + " predicted"] = [batch.tolist() for batch in ddp.predict(module, made)]
with open(f"{sys.argv[1]}/{ddp.global_rank}.json", "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "script.py").write_text(SCRIPT)
    finished = subprocess.run(
        [sys.executable, str(folder / "script.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_on_two_ranks_lightning_does_not_share_out_again_what_is_shared(two_ranks: list[dict[str, Any]]) -> None:
    for epoch, expected in enumerate(epochs(data(global_batch_size=4))):
        steps = zip(*(rank["own"][epoch] for rank in two_ranks), strict=True)
        assert [[*first, *second] for first, second in steps] == expected
        assert sorted(sample[0] for batch in expected for sample in batch) == list(range(LENGTH))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sampler", "own predicted", "sampler predicted"])
def test_on_two_ranks_samples_keep_their_draws_where_lightning_builds_the_loader_again(
    two_ranks: list[dict[str, Any]], name: str
) -> None:
    training = name == "sampler"
    for epoch, expected in enumerate(epochs(data(), 2 if training else 1)):
        parts = [rank[name][epoch] if training else rank[name] for rank in two_ranks]
        rows = [sample for part in parts for batch in part for sample in batch]
        assert Counter(map(tuple, rows)) == Counter(tuple(sample) for batch in expected for sample in batch)


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


PREPARED = {
    **LOADERS,
    "stream": lambda **more: loader(SeekableStream(), **more),
    "one_by_one": lambda **more: data(batch_size=None, **more),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("make", PREPARED.values(), ids=PREPARED)
def test_a_loader_that_accelerate_has_built_again_is_refused(
    accelerator: Accelerator, make: Callable[..., Any], workers: int
) -> None:
    ours = make(num_workers=workers)
    for built in (accelerator.prepare(ours), skip_first_batches(ours, 2)):
        if built.batch_sampler is None and type(built).__name__ == "SkipDataLoader":
            continue  # Accelerate itself cannot skip batches of a loader that does not batch
        with pytest.raises(DeterministicError, match="built again by other code, without its keys") as refused:
            next(iter(built))
        if not workers:
            assert str(refused.value).splitlines() == [
                "a loader of make_loader was built again by other code, without its keys",
                "  found: its collate_fn in a DataLoader that is not the one make_loader returned",
                "Leave the loader out of accelerator.prepare() and the like: it shares the data between the ranks "
                "itself. Move its batches to the device by hand.",
            ]
    assert epochs(ours, 1) == epochs(make(), 1), "the loader itself goes on working, from its first epoch"


def test_the_standard_recipe_is_a_loader_like_any_other_to_accelerate(accelerator: Accelerator) -> None:
    assert epochs(accelerator.prepare(data(randomness="worker", shuffle=False, num_workers=1))) == epochs(
        data(randomness="worker", shuffle=False, num_workers=1)
    )


@pytest.mark.parametrize("make", PREPARED.values(), ids=PREPARED)
def test_collating_by_hand_works(make: Callable[..., Any]) -> None:
    samples = [torch.ones(3), torch.zeros(3)]
    collated = make(collate_fn=torch.stack).collate_fn(samples) if make is not LOADERS["by_batch"] else None
    assert collated is None or collated.tolist() == [[1.0] * 3, [0.0] * 3]
