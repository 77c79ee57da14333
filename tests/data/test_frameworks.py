"""Lightning and Accelerate: what they do with a loader keeps its samples, or is refused."""

from __future__ import annotations

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

from deterministic import reproducible
from deterministic.errors import DeterministicError

from ..processes import run_two_ranks
from ..properties import covering
from .datasets import Draws, SeekableStream, epochs, loader, mixing

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated"),  # Lightning's own code
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

LENGTH = 22
"""Two batches of 8, and one of 6."""


class Recorder(pl.LightningModule):
    """Keeps the batches that it is given, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.trained: list[list[Any]] = []

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        while len(self.trained) <= self.current_epoch:
            self.trained.append([])
        self.trained[-1].append(batch.tolist())
        return self.weight * batch.sum()

    def predict_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        return batch.clone()

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


def batches_of_four() -> BatchSampler:
    return BatchSampler(SequentialSampler(range(LENGTH)), 4, drop_last=False)


LOADERS: dict[str, Callable[..., Any]] = {
    "shuffled": data,
    "sequential": lambda **more: data(shuffle=False, **more),
    "global": lambda **more: data(global_batch_size=8, **more),
    "by_batch": lambda **more: data(randomness="batch", collate_fn=mixing, **more),
    "sampler": lambda **more: data(sampler=RandomSampler(range(LENGTH)), **more),
    "batch_sampler": lambda **more: data(batch_sampler=batches_of_four(), **more),
}
every_loader = pytest.mark.parametrize(("name", "workers"), covering([*LOADERS], [0, 1]))
shuffles = pytest.mark.filterwarnings("ignore:Your `predict_dataloader`'s sampler has shuffling enabled")


@every_loader
def test_a_trainer_sees_what_plain_iteration_gives(name: str, workers: int) -> None:
    module = Recorder()
    trainer(max_epochs=3).fit(module, LOADERS[name](num_workers=workers))
    assert module.trained == epochs(LOADERS[name](), 3)


def test_a_loader_made_in_a_hook_of_the_module_is_the_same() -> None:
    class Hooked(Recorder):
        def train_dataloader(self) -> Any:
            return data()

    module = Hooked()
    trainer(max_epochs=2).fit(module)
    assert module.trained == epochs(data())


def test_validation_is_not_shuffled_and_whole_each_time() -> None:
    class Validated(Recorder):
        def on_validation_epoch_start(self) -> None:
            validated.append([])

        def validation_step(self, batch: torch.Tensor, number: int) -> None:
            validated[-1].append(batch.tolist())

    validated: list[list[Any]] = []
    module = Validated()
    validation = data(shuffle=False)
    trainer(max_epochs=2, num_sanity_val_steps=2).fit(module, data(), validation)
    first, second = epochs(data(shuffle=False))
    assert validated == [first[:2], first, second]
    assert [sample[0] for batch in validated[2] for sample in batch] == list(range(LENGTH))
    assert module.trained == epochs(data())


def resumed(path: Path, make: Callable[..., Any], hook: str, at: tuple[int, int], workers: int) -> Any:
    """Return what a training sees that goes on from where `hook` has saved another, so many batches into an epoch."""

    def save(*_: Any) -> None:
        if (first.current_epoch, len(first.trained[-1])) == at:
            first.trainer.save_checkpoint(path)

    first, second = Recorder(), Recorder()
    setattr(first, hook, save)
    trainer(max_epochs=3).fit(first, make(num_workers=workers))
    trainer(max_epochs=3).fit(second, make(num_workers=workers), ckpt_path=path, weights_only=True)
    return second.trained


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["shuffled", "sampler"])
def test_a_trainer_resumes_in_the_middle_of_an_epoch(name: str, workers: int, tmp_path: Path) -> None:
    _, second, third = epochs(LOADERS[name](), 3)
    path = tmp_path / "checkpoint"
    assert resumed(path, LOADERS[name], "on_train_batch_end", (1, 1), workers) == [[], second[1:], third]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end"])
def test_a_trainer_resumes_between_two_epochs(hook: str, workers: int, tmp_path: Path) -> None:
    assert resumed(tmp_path / "checkpoint", data, hook, (0, 3), workers) == [[], *epochs(data(), 3)[1:]]


@shuffles
@every_loader
def test_predictions_are_of_the_same_samples(name: str, workers: int) -> None:
    # Lightning builds the loader again, around a batch sampler of its own that notes the indices.
    ours = LOADERS[name](num_workers=workers)
    assert predictions(Recorder(), ours) == predictions(Recorder(), ours) == epochs(LOADERS[name](), 1)[0]


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
    return run_two_ranks(SCRIPT, tmp_path_factory.mktemp("ddp"))


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


REFUSAL = """\
a loader of make_loader was built again by other code, without its keys
  found: its collate_fn in a DataLoader that is not the one make_loader returned
Leave the loader out of accelerator.prepare() and the like: it shares the data between the ranks itself. \
Move its batches to the device by hand."""


def refusal(built: Any) -> str:
    """Return the text of the error; its traceback would keep the workers until a garbage collection."""
    try:
        next(iter(built))
    except DeterministicError as error:
        error.__traceback__ = None
        return str(error)
    return "it went through"


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


PREPARED: dict[str, Callable[..., Any]] = {
    **LOADERS,
    "stream": lambda **more: loader(SeekableStream(), **more),
    "one_by_one": lambda **more: data(batch_size=None, **more),
}


@pytest.mark.parametrize(("name", "workers"), covering([*PREPARED], [0, 1]))
def test_a_loader_that_accelerate_has_built_again_is_refused(accelerator: Accelerator, name: str, workers: int) -> None:
    ours = PREPARED[name](num_workers=workers)
    built_again = [accelerator.prepare(ours)]
    if name != "one_by_one":  # of which Accelerate cannot skip batches
        built_again += [skip_first_batches(ours, 2), accelerator.skip_first_batches(built_again[0], 2)]
    with reproducible(seed=0):  # without the keys the samples that are refused move the generators
        for built in built_again:
            if workers:
                assert REFUSAL in refusal(built)
            else:
                assert refusal(built) == REFUSAL
    assert epochs(ours) == epochs(PREPARED[name](num_workers=workers)), "the loader itself works, from its first epoch"


def test_the_standard_recipe_is_a_loader_like_any_other_to_accelerate(accelerator: Accelerator) -> None:
    def recipe() -> Any:
        return data(randomness="worker", num_workers=1)

    assert epochs(accelerator.prepare(recipe())) == epochs(recipe())


@pytest.mark.parametrize("name", PREPARED)
def test_collating_by_hand_works(name: str) -> None:
    made = PREPARED[name](**{} if name == "by_batch" else {"collate_fn": mixing})
    with reproducible(seed=0):
        collated = made.collate_fn([torch.ones(3), torch.zeros(3)])
    with reproducible(seed=0):
        assert collated.tolist() == mixing([torch.ones(3), torch.zeros(3)]).tolist()
