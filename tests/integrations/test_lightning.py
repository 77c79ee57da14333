"""`ExactResume`: a Lightning training that is killed within an epoch, and resumed, ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from deterministic import make_loader, reproducible
from deterministic.errors import DeterministicError, ResumeMismatchError
from deterministic.integrations.lightning import ExactResume

from ..processes import run_python, run_two_ranks
from .children import Augmented, different, ends_of
from .lightning_training import Module, Validated, trainer_with

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated"),  # Lightning's own code
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

Ends = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory, model_of_pythons: None) -> Ends:
    return ends_of("lightning_training", tmp_path_factory.mktemp("lightning"))


def with_callback(ends: Ends) -> Ends:
    return {case: by_step for case, by_step in ends.items() if not case.startswith("own")}


@pytest.mark.slow
def test_a_training_that_was_killed_ends_as_the_whole_one(ends: Ends) -> None:
    assert different(with_callback(ends)) == {}
    assert all(isinstance(end, dict) for by_step in ends.values() for end in by_step.values())


@pytest.mark.slow
def test_the_workers_and_the_validation_change_nothing(ends: Ends) -> None:
    assert ends["exact"]["None"] == ends["workers"]["None"] == ends["validated"]["None"]


@pytest.mark.slow
def test_the_callback_does_not_change_a_training_that_is_not_interrupted(ends: Ends) -> None:
    assert ends["own"]["None"] == ends["exact"]["None"]


@pytest.mark.slow
def test_without_the_callback_the_loader_alone_is_not_enough(ends: Ends) -> None:
    assert {"model", "optimizer", "generators"} <= set(different(ends)["own 3"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own loader 3", "own loader 6", "own workers 3"])
def test_without_either_it_is_not_exact(ends: Ends, name: str) -> None:
    assert {"model", "optimizer"} <= set(different(ends)[name])


def fit(train: Any, validation: Any = None, *, ckpt_path: Path | None = None, save: Path | None = None) -> None:
    trainer = trainer_with(
        [] if save else [ExactResume()], enable_checkpointing=False, max_epochs=2 if ckpt_path else 1
    )
    module = Module() if validation is None else Validated()
    trainer.fit(module, train, validation, ckpt_path=ckpt_path, weights_only=True)
    if save:
        trainer.save_checkpoint(save)


def ours(**arguments: Any) -> Any:
    return make_loader(Augmented(8), seed=0, batch_size=4, **arguments)


class Stream(torch.utils.data.IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.zeros(8, 4))


def plain() -> Any:
    return torch.utils.data.DataLoader(Augmented(8), batch_size=4)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "plain": (lambda: (plain(),), "found: a DataLoader for training"),
    "worker": (lambda: (ours(randomness="worker"),), "found: a DataLoader for training"),
    "several": (lambda: ([ours(), ours()],), "found: 2 loaders for training"),
    "stream": (lambda: (make_loader(Stream(), seed=0, batch_size=4),), "found: a loader without a length"),
    "validation": (lambda: (ours(), plain()), "found: a DataLoader for validation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loader_with_which_it_cannot_be_exact_is_refused(name: str) -> None:
    make, expected = REFUSED[name]
    with reproducible(seed=0), pytest.raises(DeterministicError, match=expected):
        fit(*make())


def test_a_checkpoint_that_was_saved_without_the_callback_is_refused(tmp_path: Path) -> None:
    with reproducible(seed=0):
        fit(ours(), save=tmp_path / "a.ckpt")
        with pytest.raises(ResumeMismatchError, match="found: one that was saved without ExactResume"):
            fit(ours(), ckpt_path=tmp_path / "a.ckpt")


class SaveOnce(pl.Callback):
    """Saves after the second batch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 2:
            trainer.save_checkpoint(self.path)


class Counting(Validated):
    """Notes its validations, and what Lightning has averaged over each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.validated: list[int] = []
        self.averages: list[float] = []

    def on_validation_start(self) -> None:
        self.validated.append(self.trainer.fit_loop.total_batch_idx)

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        self.log("number", float(number), on_step=False, on_epoch=True, batch_size=1)
        return super().training_step(batch, number)

    def on_train_epoch_end(self) -> None:
        self.averages.append(self.trainer.callback_metrics["number"].item())


def test_what_lightning_averages_over_an_epoch_and_a_validation_that_was_due_are_not_resumed(tmp_path: Path) -> None:
    found = []
    for path in (None, tmp_path / "2.ckpt"):
        with reproducible(seed=0):
            module = Counting()
            trainer = trainer_with(
                [ExactResume(), *[SaveOnce(tmp_path / "2.ckpt")] * (path is None)],
                enable_checkpointing=False,
                max_epochs=1,
                val_check_interval=2,
                num_sanity_val_steps=0,
            )
            four = make_loader(Augmented(16), batch_size=4)
            trainer.fit(module, four, ours(), ckpt_path=path, weights_only=True)
        found.append((module.validated, module.averages))
    assert found == [([1, 3], [1.5]), ([3], [2.5])]


NOT_INSTALLED = """
import sys
sys.modules["pytorch_lightning"] = sys.modules["lightning"] = None
try:
    import deterministic.integrations.lightning
except ImportError as error:
    print(error)
"""
OTHER_NAME = """
import sys, types
sys.modules["pytorch_lightning"] = None
other = types.ModuleType("lightning.pytorch")
other.Callback, other.utilities = type("Callback", (), {}), types.SimpleNamespace(CombinedLoader=None)
sys.modules.update({"lightning": types.ModuleType("lightning"), "lightning.pytorch": other})
from deterministic.integrations.lightning import ExactResume
print(issubclass(ExactResume, other.Callback))
"""


@pytest.mark.usefixtures("warm_pythons")
def test_without_lightning_the_error_says_what_to_install() -> None:
    assert "pip install 'deterministic[lightning]'" in run_python(NOT_INSTALLED, PYTHONHASHSEED="0")


@pytest.mark.usefixtures("warm_pythons")
def test_lightning_under_its_other_name_is_found() -> None:
    assert run_python(OTHER_NAME, PYTHONHASHSEED="0") == "True"


TWO_RANKS = """
import json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from deterministic import fingerprint
from tests.integrations.lightning_training import train

folder, rank = Path(sys.argv[1]), int(os.environ.get("LOCAL_RANK", 0))
two = {"by_hand": True, "ahead": rank, "trainer": {"devices": 2, "strategy": "ddp", "accumulate_grad_batches": 2}}
ends = [train(folder, **two)]
for step in (0, 1, 3):
    ends.append(train(folder, folder / f"step={step}.ckpt", **{**two, "by_hand": False}))
found = [{name: fingerprint(state) for name, state in end.items()} for end in ends]
(folder / f"{rank}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_ranks_with_generators_of_their_own_resume_each_with_its_own(tmp_path: Path) -> None:
    ranks = run_two_ranks(TWO_RANKS, tmp_path)
    for whole, *resumed in ranks:
        assert resumed == [whole] * 3
    assert ranks[0][0]["generators"] != ranks[1][0]["generators"]


OWN_SAMPLERS = """
import json, os, sys
from pathlib import Path
import torch
from torch.utils.data import WeightedRandomSampler
torch.set_num_threads(1)
from deterministic import make_loader
from tests.integrations.children import Augmented
from tests.integrations.test_lightning_places import fit

folder, rank = Path(sys.argv[1]), int(os.environ.get("LOCAL_RANK", 0))

def loaders():
    sampler = WeightedRandomSampler([1.0] * 16, 8, generator=torch.Generator().manual_seed(rank))
    return make_loader(Augmented(16), batch_size=3, sampler=sampler), make_loader(Augmented(4))

two = {"devices": 2, "strategy": "ddp", "use_distributed_sampler": False}
given, end = fit(loaders, folder / "whole", **two)
found = []
for step in (1, 4):
    rest, ending = fit(loaders, folder / "rest", folder / "whole" / f"step={step}.ckpt", **two)
    found.append([ending == end, rest == given[-len(rest):]])
found.append([one[3] for one in given if one[0] == "training"])
(folder / f"{rank}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_ranks_with_samplers_of_their_own_go_on_each_with_its_own_samples(tmp_path: Path) -> None:
    ranks = run_two_ranks(OWN_SAMPLERS, tmp_path)
    assert [rank[:2] for rank in ranks] == [[[True, True]] * 2] * 2
    assert not {*ranks[0][2]} & {*ranks[1][2]}
