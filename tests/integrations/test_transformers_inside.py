"""Transformers inside the block: what it leaks by itself is given back, and with `hf_kwargs` it follows the scope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import fingerprint, reproducible
from deterministic.integrations.transformers import hf_kwargs

from .children import network
from .leaks import changed, leaks, state_now

transformers: Any = pytest.importorskip("transformers")

pytestmark = pytest.mark.usefixtures("own_process")

ALGORITHMS = "torch.deterministic_algorithms.enabled"
VARIABLES = {
    "environment.ASCEND_LAUNCH_BLOCKING": "1",
    "environment.CUBLAS_WORKSPACE_CONFIG": ":16:8",
    "environment.CUDA_LAUNCH_BLOCKING": "1",
    "environment.FLASH_ATTENTION_DETERMINISTIC": "1",
    "environment.HCCL_DETERMINISTIC": "1",
}
FULL = {**VARIABLES, ALGORITHMS: True, "torch.cudnn.deterministic": True}
GENERATORS = {"python.random.digest", "numpy.random.digest", "torch.cpu.digest"}


class Model(torch.nn.Module):
    """Returns a loss, as the models of Transformers do, and notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()
        self.first = fingerprint(self.model)
        self.order: list[int] = []
        self.warn_only: set[bool] = set()

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        self.order += rows[:, 3].int().tolist()
        self.warn_only.add(torch.is_deterministic_algorithms_warn_only_enabled())
        return {"loss": (self.model(rows[:, :3]).squeeze(1) - rows[:, 3]).square().mean()}


@pytest.fixture
def train(tmp_path: Path) -> Any:
    def train(**arguments: Any) -> Model:
        model = Model()
        made = transformers.TrainingArguments(
            str(tmp_path),
            per_device_train_batch_size=4,
            num_train_epochs=1,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            **arguments,
        )
        rows = list(torch.arange(88.0).view(22, 4) / 88 * torch.tensor([1.0, 1, 1, 88]))
        transformers.Trainer(
            model, made, data_collator=lambda found: {"rows": torch.stack(found)}, train_dataset=rows
        ).train()
        return model

    return train


@pytest.mark.parametrize("full", [False, True])
def test_what_trainer_leaks_the_block_gives_back(train: Any, full: bool) -> None:
    found = leaks(lambda: train(full_determinism=full))
    assert {name: found.get(name) for name in FULL} == (FULL if full else dict.fromkeys(FULL))
    assert found.keys() >= GENERATORS

    before = state_now()
    with reproducible(seed=3, deterministic=False):
        train(full_determinism=full)
    assert changed(before, state_now()) == {}


def test_what_the_helpers_leak_the_block_gives_back() -> None:
    def seeded() -> None:
        transformers.set_seed(3, deterministic=True)

    def full() -> None:
        transformers.enable_full_determinism(3)

    for work, values in ((seeded, {ALGORITHMS: True}), (full, FULL)):
        found = leaks(work)
        assert {name: found.get(name) for name in values} == values
        assert found.keys() >= GENERATORS
        before = state_now()
        with reproducible(seed=3):
            work()
        assert changed(before, state_now()) == {}


@pytest.mark.parametrize("arguments", [{}, {"full_determinism": True}])
def test_a_training_has_the_same_bits_twice(train: Any, arguments: Any) -> None:
    def twice(seed: int | None) -> list[str]:
        found = []
        for _ in range(2):
            with reproducible(seed=seed, deterministic=False, enabled=seed is not None):
                found.append(fingerprint(train(**arguments)))
        return found

    without: list[str] = []
    leaks(lambda: without.extend(twice(None)))
    assert without[0] != without[1], "the model is made before Trainer seeds"
    first, second = twice(3)
    assert first == second


def inside(train: Any, scope: int, *, kwargs: bool = True, **arguments: Any) -> Model:
    with reproducible(seed=scope):
        found: Model = train(**(hf_kwargs() if kwargs else {}), **arguments)
        return found


def test_by_itself_the_order_of_the_data_does_not_follow_the_scope(train: Any) -> None:
    one, two = (inside(train, seed, kwargs=False) for seed in (1, 2))
    assert one.first != two.first
    assert one.order == two.order


def test_with_the_arguments_model_and_order_follow_the_scope(train: Any) -> None:
    one, two, again = (inside(train, seed) for seed in (1, 2, 1))
    assert one.first != two.first
    assert one.order != two.order
    assert sorted(one.order) == sorted(two.order)
    assert (one.order, fingerprint(one)) == (again.order, fingerprint(again))


def test_of_a_seed_below_what_numpy_takes_the_order_is_that_of_passing_it_by_hand(train: Any) -> None:
    assert inside(train, 7).order == inside(train, 7, kwargs=False, seed=7).order


def test_a_seed_beyond_what_numpy_takes_is_one_for_trainer_too(train: Any) -> None:
    with pytest.raises(ValueError, match="Seed must be between 0 and"):
        inside(train, 2**32, kwargs=False, seed=2**32)
    one, two = (inside(train, seed) for seed in (2**32, 2**40))
    assert one.order != two.order


@pytest.mark.parametrize(("full", "expected"), [(False, True), (True, False)])
def test_the_level_of_the_scope_stays_unless_trainer_is_told_to_set_its_own(
    train: Any, full: bool, expected: bool
) -> None:
    with reproducible(seed=1, deterministic="warn"):
        assert train(**hf_kwargs(full_determinism=full)).warn_only == {expected}
