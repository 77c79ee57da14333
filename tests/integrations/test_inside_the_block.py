"""Lightning, Accelerate and PyTorch's own helpers inside the block: what they leak by themselves, it gives back.

Each piece of work is first shown to leak without the block. Transformers and Hydra have files of their own.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from pytorch_lightning.utilities.seed import isolate_rng

from deterministic import fingerprint, make_loader, reproducible

from .children import Augmented, network
from .leaks import Values, changed, leaks, state_now
from .lightning_training import trainer_with

pytestmark = [
    pytest.mark.usefixtures("own_process"),
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated"),  # Lightning's own code
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

ALGORITHMS = "torch.deterministic_algorithms.enabled"
WARN_ONLY = "torch.deterministic_algorithms.warn_only"


class Module(pl.LightningModule):
    """Draws in its layers, and notes the flags that it is trained under."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()
        self.found: set[tuple[bool, bool]] = set()

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        self.found.add(
            (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        )
        loss: torch.Tensor = (self.model(batch[:, :3]).squeeze(1) - batch[:, 3]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(**arguments: Any) -> Module:
    """Train for an epoch on a plain loader, as a script without this library does."""
    module = Module()
    loader = torch.utils.data.DataLoader(Augmented(), batch_size=4, shuffle=True)
    trainer_with([], enable_checkpointing=False, max_epochs=1, **arguments).fit(module, loader)
    return module


def isolated() -> None:
    with isolate_rng():
        pl.seed_everything(3)


def isolated_with_an_error() -> None:
    with contextlib.suppress(ZeroDivisionError), isolate_rng():
        random.random(), np.random.rand(), torch.rand(1)
        _ = 1 / 0


def accelerated() -> Any:
    """Train for an epoch under Accelerate."""
    set_seed(3, deterministic=True)
    accelerator = Accelerator(cpu=True)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loader = torch.utils.data.DataLoader(Augmented(), batch_size=4, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for batch in loader:
        optimizer.zero_grad()
        accelerator.backward((model(batch[:, :3]).squeeze(1) - batch[:, 3]).square().mean())
        optimizer.step()
    return model


def cudnn_flags() -> None:
    """Use cuDNN's own block where a precision is inherited: it leaves it pinned, for products of matrices too."""
    backends: Any = torch.backends
    backends.fp32_precision = "tf32"
    with torch.backends.cudnn.flags(deterministic=True):
        pass
    backends.fp32_precision = "none"


def forked() -> None:
    with torch.random.fork_rng():
        random.random(), np.random.rand(), torch.rand(1)


GENERATORS = {f"{name}.digest" for name in ("python.random", "numpy.random", "torch.cpu")}
FLAGS = {ALGORITHMS: True}
WORKSPACE = {"environment.CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
HAS_PRECISION_API = hasattr(torch.backends, "fp32_precision")

LEAKS: dict[str, tuple[Callable[[], object], Values, set[str]]] = {
    "Trainer(deterministic=True)": (lambda: fit(deterministic=True), FLAGS | WORKSPACE, {"torch.cpu.digest"}),
    "Trainer(deterministic='warn')": (
        lambda: fit(deterministic="warn"),
        FLAGS | WORKSPACE | {WARN_ONLY: True},
        {"torch.cpu.digest"},
    ),
    "Trainer(benchmark=True)": (lambda: fit(benchmark=True), {"torch.cudnn.benchmark": True}, {"torch.cpu.digest"}),
    "pl.seed_everything": (
        lambda: pl.seed_everything(7, workers=True),
        {"environment.PL_GLOBAL_SEED": "7", "environment.PL_SEED_WORKERS": "1"},
        GENERATORS,
    ),
    "isolate_rng": (isolated, {"environment.PL_GLOBAL_SEED": "3", "environment.PL_SEED_WORKERS": "0"}, set()),
    "isolate_rng, left by an error": (isolated_with_an_error, {}, GENERATORS),
    "accelerate": (accelerated, FLAGS, GENERATORS),
    "fork_rng": (forked, {}, GENERATORS - {"torch.cpu.digest"}),
}
if HAS_PRECISION_API:  # since torch 2.9
    LEAKS["cudnn.flags"] = (cudnn_flags, {"torch.fp32_precision.cuda.matmul": "tf32"}, set())

every_work = pytest.mark.parametrize("name", LEAKS)


@every_work
def test_without_the_block_it_leaks(name: str) -> None:
    work, values, generators = LEAKS[name]
    found = leaks(work)
    assert {name: found.get(name) for name in values} == values
    assert generators <= found.keys()


@every_work
@pytest.mark.parametrize("level", [False, True, "warn"])
def test_the_block_gives_everything_back(name: str, level: Any) -> None:
    before = state_now()
    with reproducible(seed=3, deterministic=level):
        LEAKS[name][0]()
    assert changed(before, state_now()) == {}


def two_runs(work: Callable[[], torch.nn.Module]) -> tuple[str, str]:
    """Return what comes out of the work, and out of it again after other draws."""
    return fingerprint(work()), (torch.rand(3), fingerprint(work()))[1]


@pytest.mark.parametrize(
    "arguments", [{}, {"deterministic": True}, {"deterministic": False}, {"deterministic": "warn"}]
)
def test_a_training_of_lightning_has_the_same_bits_twice(arguments: Any) -> None:
    def inside() -> torch.nn.Module:
        with reproducible(seed=3):
            return fit(**arguments)

    different: list[tuple[str, str]] = []
    leaks(lambda: different.append(two_runs(lambda: fit(**arguments))))
    ((first, second),) = different
    assert first != second, "without the block"
    first, second = two_runs(inside)
    assert first == second


def test_lightning_keeps_the_samples_of_a_loader_made_in_the_block() -> None:
    def inside(workers: int) -> str:
        with reproducible(seed=3):
            module = Module()
            loader = make_loader(Augmented(), batch_size=4, shuffle=True, num_workers=workers)
            trainer_with([], enable_checkpointing=False, max_epochs=2).fit(module, loader)
            return fingerprint(module)

    assert inside(0) == inside(1)


@pytest.mark.parametrize(
    ("level", "arguments", "found"),
    [
        (True, {}, (True, False)),
        (True, {"deterministic": None}, (True, False)),
        (True, {"deterministic": True}, (True, False)),
        ("warn", {}, (True, True)),
        ("warn", {"deterministic": True}, (True, False)),
        (True, {"deterministic": "warn"}, (True, True)),
        (True, {"deterministic": False}, (False, False)),
        (False, {}, (False, False)),
    ],
)
def test_what_trainer_is_told_wins_within_the_block(level: Any, arguments: Any, found: tuple[bool, bool]) -> None:
    with reproducible(seed=3, deterministic=level):
        assert fit(**arguments).found == {found}


def test_the_seed_that_lightning_has_left_does_not_reach_beyond_the_block() -> None:
    found: list[int] = []

    def without() -> None:
        pl.seed_everything(7)
        found.append(pl.seed_everything(None))

    leaks(without)
    with reproducible(seed=3):
        pl.seed_everything(7)
    with pytest.warns(UserWarning, match="No seed found"):
        leaks(lambda: found.append(pl.seed_everything(None)))
    assert found == [7, 0]


def test_a_training_of_accelerate_has_the_same_bits_twice() -> None:
    def inside() -> Any:
        with reproducible(seed=3):
            return accelerated()

    first, second = two_runs(inside)
    assert first == second


def test_cudnn_flags_switches_cudnn_off_unless_it_is_told_otherwise() -> None:
    with reproducible(seed=3), torch.backends.cudnn.flags(deterministic=True):
        assert state_now()["torch.cudnn.enabled"] is False
    with reproducible(seed=3), torch.backends.cudnn.flags(enabled=True, deterministic=True):
        assert state_now()["torch.cudnn.enabled"] is True


def test_fork_rng_gives_the_scope_its_own_draws_back() -> None:
    with reproducible(seed=3):
        expected = torch.rand(2)
    with reproducible(seed=3):
        forked()
        assert torch.equal(torch.rand(2), expected)
