"""Every public name in use, for `mypy --strict`; `test_typing.py` checks that none is missing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import ChainDataset, DataLoader, Dataset, RandomSampler, TensorDataset

from deterministic import (
    Checkpoint,
    Manifest,
    Run,
    assert_reproducible,
    compare_levels,
    current_run,
    derive_seed,
    describe,
    diff,
    fingerprint,
    load_checkpoint,
    make_loader,
    manifest,
    record,
    register_source,
    reproducible,
    sample_rng,
    save_checkpoint,
    seed_everything,
    seed_worker,
    spawn_seeds,
    verify,
)
from deterministic.errors import (
    CheckpointError,
    DeterministicError,
    EntropyError,
    ManifestError,
    NondeterminismWarning,
    NotReproducibleError,
    RepeatedDrawsWarning,
    ReplayWarning,
    ResumeMismatchError,
    ScopeConflictError,
    ScopeOrderWarning,
    SeedError,
    TooLateWarning,
    TraceError,
    explain,
    warn,
)
from deterministic.ground.config import Config
from deterministic.ground.source import NOTHING, Applied, JSON, SourceKind
from deterministic.testing import check_dataset, check_sampler, check_source, check_stream
from deterministic.trace.comparing.diff import Diff
from deterministic.trace.comparing.reasons import Reason
from deterministic.verification.report import Report


@reproducible
def train(epochs: int) -> float:
    return float(torch.rand(epochs).sum())


@reproducible(seed=7, deterministic="warn", num_threads=1, per_rank=True, on_conflict="wait", enabled=True)
def steps(count: int) -> Iterator[float]:
    for _ in range(count):
        yield random.random()


@reproducible(7)
async def serve(name: str) -> str:
    return name


@reproducible(seed=None, deterministic=False)
async def stream(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


class Trainer:
    @reproducible
    def fit(self, epochs: int) -> Trainer:
        return self

    @classmethod
    @reproducible(seed=1)
    def make(cls) -> Trainer:
        return cls()

    @staticmethod
    @reproducible
    def score(value: float) -> float:
        return value


def blocks(config: Mapping[str, Any], path: Path) -> list[float]:
    own = (torch.Generator(), np.random.default_rng(), np.random.RandomState(), random.Random())
    with reproducible(seed=42, deterministic=True, generators=own) as run:
        values = handle(run)
    with reproducible.from_config(config), reproducible.from_config(path, deterministic="cudnn"):
        values.append(train(epochs=1))
    scope = reproducible()
    started: Run = scope.start()
    scope.stop()
    values.extend(steps(started.seed or 0))
    return [*values, Trainer.make().fit(3).score(1.0)]


def handle(run: Run) -> list[float]:
    split: torch.Generator = run.generator("split", device=torch.device("cpu"))
    noise: np.random.Generator = run.numpy("noise")
    state: dict[str, Any] = run.state_dict()
    run.load_state_dict(state)
    with run.allow_nondeterministic() as same:
        text: str = same.report().sentence() + same.report().to_json(indent=2)
    seeds: list[int] = [run.derive("fold", 3), derive_seed(42, "a", 1), *spawn_seeds(42, len(text))]
    seed: int | None = current_run().seed
    return [torch.rand(1, generator=split).item(), noise.random(), float(seed or seeds[0])]


def loaders() -> DataLoader[tuple[torch.Tensor, ...]]:
    dataset = TensorDataset(torch.zeros(3))
    generator: torch.Generator = seed_everything(3, deterministic="cudnn")
    by_hand = DataLoader(dataset, worker_init_fn=seed_worker, generator=generator)
    ours = make_loader(dataset, 64, True, seed=3, num_workers=2)
    ours.load_state_dict(ours.state_dict())
    ours.set_epoch(ours.epoch + 1)
    ours = make_loader.like(by_hand, batch_size=2, seed=ours.epoch)
    make_loader.like([1, 2])  # type: ignore[arg-type]  # no loader
    numbers: DataLoader[int] = make_loader([1, 2], global_batch_size=2, shard=False, seed=3, worker_threads=1)
    recipe: DataLoader[int] = make_loader([1, 2], seed=len(numbers), randomness="worker")
    make_loader([1, 2], 2, "blocks", seed=3, block_size=2).peek()
    make_loader.like(by_hand, shuffle="blocks", block_size=2, seed=3)
    make_loader([1, 2], shuffle="shards", seed=3)  # type: ignore[call-overload]  # no such order
    words: DataLoader[str] = make_loader(Words(), seed=len(numbers))
    make_loader({1, 2}, seed=len(words))  # type: ignore[call-overload]  # no items by number
    rows: DataLoader[torch.Tensor] = make_loader(torch.ones(2, 3), 1, None, [1, 0], seed=3)
    cells: DataLoader[float] = make_loader(np.ones(2), seed=len(rows))
    return by_hand if len(by_hand) or len(recipe) or len(cells) else ours


class Words:
    """What has items and a length, and no base class."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> str:
        return "ab"[index]


class Draws(Dataset[float]):
    def __getitem__(self, index: int) -> float:
        numpy: np.random.Generator = sample_rng()
        cpu: torch.Generator = sample_rng("torch")
        python: random.Random = sample_rng("python")
        return numpy.random() + torch.rand((), generator=cpu).item() + python.random()


def verified(folder: Path) -> str:
    def train(rate: float) -> float:
        current_run().observe("rate", rate)
        return rate

    report: Report = verify(train, 0.1, runs=2, control=reproducible(seed=1))
    assert_reproducible(train, rate=0.1, isolate=False)
    with record(folder / "a.trace", "ops+inputs") as trace:
        trace.observe("rate", torch.ones(1))
    recorded: Callable[[float], float] = record(str(folder / "b.trace"))(train)
    found: Diff = diff(folder / "a.trace", str(folder / "b.trace"))
    reason: Reason | None = report.verdict.cause.reason if report.verdict and report.verdict.cause else None
    levels: str = str(compare_levels(train, recorded(1.0), levels=(False, True), runs=2))
    return fingerprint([torch.ones(1), levels], layout=True) + found.outcome + str(reason) + report.to_json(indent=1)


def resumed(folder: Path, model: torch.nn.Module) -> dict[str, object]:
    checkpoint = Checkpoint(folder, every=10, every_seconds=60.0, keep=None, resume="auto", model=model)
    for epoch in checkpoint.epochs(2):
        checkpoint.values["epoch"] = epoch + checkpoint.steps + checkpoint.epoch
    checkpoint.close()
    save_checkpoint(folder / "a.safetensors", model=model, best=0.5)
    return load_checkpoint(str(folder / "a.safetensors"), on_mismatch="warn", model=model, best=0.0)


class Dial:
    """A source of the user's own."""

    name: str = "test.dial"
    kind: SourceKind = "setting"

    def capture(self) -> int:
        return 0

    def apply(self, config: Config) -> Applied:
        return Applied({"value": 1}) if config.applies_cudnn else NOTHING

    def restore(self, state: int) -> None: ...

    def describe(self, state: int) -> dict[str, JSON]:
        return {"value": state}


def own_source() -> dict[str, dict[str, JSON]]:
    check_source(Dial())
    register_source(Dial())
    return describe()


def own_data(dataset: TensorDataset) -> list[str]:
    check_dataset(lambda: dataset)
    return check_sampler(lambda: RandomSampler(dataset)) + check_stream(lambda: ChainDataset([]), batch_size=1)


def provenance(path: Path, dataset: TensorDataset) -> str:
    found: Manifest = manifest(packages=False, data={"train": dataset})
    found.write(path)
    difference = found.diff(Manifest.read(path))
    ranked = [one.field for one in difference.differences if one.can_alter_bits]
    return difference.to_json(indent=difference.exit_code) + str(ranked)


def errors() -> str:
    raised: list[type[DeterministicError]] = [
        EntropyError,
        ManifestError,
        SeedError,
        ScopeConflictError,
        NotReproducibleError,
        ResumeMismatchError,
        TraceError,
        CheckpointError,
    ]
    warned: list[type[UserWarning]] = [ScopeOrderWarning, TooLateWarning, ReplayWarning, NondeterminismWarning]
    warned.append(RepeatedDrawsWarning)
    text: str = explain("differs", tuple(kind.__name__ for kind in (*raised, *warned)), "remedy")
    warn(ScopeOrderWarning, text)
    return text
