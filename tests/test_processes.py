"""Processes: the same bits in a fresh one, whatever was imported when, and on every rank its own seed if asked for."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from deterministic import derive_seed, make_loader, reproducible

from .processes import ROOT, run_python
from .streams import SECONDS, Draw, draw, stream

TRAINING = """
import hashlib, random
import numpy, torch
from deterministic import make_loader, reproducible

torch.set_num_threads(1)

def train():
    samples = torch.utils.data.TensorDataset(torch.rand(64, 1, 8, 8), torch.randint(0, 10, (64,)))
    loader = make_loader(samples, batch_size=16, shuffle=True, seed=random.getrandbits(32))
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(144, 10)
    )
    for _ in range(2):
        for images, labels in loader:
            images = images + torch.from_numpy(numpy.random.normal(0, 0.1, images.shape)).float()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():  # an optimiser of torch's would import torch.compile, for seconds
                for parameter, gradient in zip(model.parameters(), gradients):
                    parameter -= 0.1 * gradient
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()

with reproducible(seed=7):
    block = train()
print(block, reproducible(seed=7)(train)(), reproducible(seed=8)(train)(), train(), hash("a string"))
"""


def test_a_training_has_the_same_bits_in_a_fresh_process_and_an_unseeded_one_has_not() -> None:
    runs = [run_python(TRAINING, PYTHONHASHSEED=seed).split() for seed in ("1", "2")]
    (block, decorated, other_seed, unseeded, string_hash), again = runs
    assert again[:3] == [block, decorated, other_seed]
    assert block == decorated
    assert len({block, other_seed, unseeded, again[3]}) == 4  # shows that the comparison can fail
    assert string_hash != again[4]


FIRST_USE = """
import json, sys
from deterministic import reproducible

@reproducible(seed=7)
def decorated():
    import random, numpy, torch
    return random.random(), float(numpy.random.random()), torch.rand((), dtype=torch.float64).item()

with reproducible(seed=7, enabled=False):
    pass
assert not {"torch", "numpy"} & sys.modules.keys(), "a decorated function that is not called needs neither"

if sys.argv[1] == "decorated":
    drawn = [decorated()]
else:
    with reproducible(seed=7):
        import random, numpy, torch
        drawn = [(random.random(), float(numpy.random.random()), torch.rand((), dtype=torch.float64).item())]
import random, numpy, torch
after = random.random(), float(numpy.random.random())
assert not torch.are_deterministic_algorithms_enabled()
print(json.dumps([drawn, after, torch.initial_seed()]))
"""


def test_libraries_first_imported_inside_the_scope_are_seeded_by_it_and_not_left_so() -> None:
    results = [json.loads(run_python(FIRST_USE, form)) for form in ("block", "decorated")]
    for drawn, after, torch_seed in results:
        assert [tuple(values) for values in drawn] == stream(7, 1)
        assert not set(after) & {value for values in stream(7, 5) for value in values}
        assert torch_seed != 7
    (_, after, _), (_, after_again, _) = results
    assert after != after_again  # unseeded, as in a process that never entered a scope


@reproducible(seed=1)
def two_draws(*_: object) -> list[Draw]:
    return [draw(), draw()]


class Model:
    @reproducible(seed=2)
    def two_draws(self, *_: object) -> list[Draw]:
        return [draw(), draw()]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_decorated_function_runs_in_the_processes_of_a_pool(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {method}")
    with reproducible(seed=5):
        first = draw()
        with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
            functions = [pool.submit(two_draws) for _ in range(3)]
            methods = [pool.submit(Model().two_draws) for _ in range(3)]
            assert [job.result(4 * SECONDS) for job in functions] == [stream(1, 2)] * 3
            assert [job.result(4 * SECONDS) for job in methods] == [stream(2, 2)] * 3
        assert [first, draw()] == stream(5, 2)


class Noisy(Dataset[Any]):
    """Each item: what the worker draws, what a decorated function draws there, and whether the level is on."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[int, Draw, list[Draw], bool]:
        return index, draw(), two_draws(), torch.are_deterministic_algorithms_enabled()


def as_they_are(batch: list[Any]) -> list[Any]:
    return batch


def one_epoch(seed: int) -> list[Any]:
    with reproducible(seed=seed):
        first = draw()
        loader = make_loader(Noisy(), batch_size=2, shuffle=True, num_workers=2, collate_fn=as_they_are)
        items = [item for batch in loader for item in batch]
        assert [first, draw()] == stream(seed, 2)
    return items


@pytest.mark.skipif(sys.platform != "linux", reason="the workers inherit the level by fork")
def test_the_workers_of_a_loader_inside_a_scope_draw_the_same_again_and_may_enter_scopes() -> None:
    items = one_epoch(5)
    assert one_epoch(5) == items
    assert one_epoch(6) != items
    assert sorted(index for index, *_ in items) == list(range(8))
    assert len({noise for _, noise, *_ in items}) == 8
    assert all(inner == stream(1, 2) and level for *_, inner, level in items)


def test_the_rank_of_a_launcher_gives_each_process_its_own_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    for rank in ("0", "1", "1"):
        monkeypatch.setenv("RANK", rank)
        with reproducible(seed=3, per_rank=True) as run:
            seeds.append(run.seed)
        with reproducible(seed=3) as run:
            assert run.seed == 3
    assert seeds == [derive_seed(3, "rank", 0), derive_seed(3, "rank", 1), derive_seed(3, "rank", 1)]
    monkeypatch.delenv("RANK")
    with reproducible(seed=3, per_rank=True) as run:
        assert run.seed == seeds[0]
    with reproducible(seed=None, per_rank=True) as run:
        assert run.seed is None


RANKS = """
import json, os, sys
import torch, torch.distributed
from deterministic import reproducible
from tests.streams import draw

@reproducible(seed=3, per_rank=True)
def decorated():
    return draw()

def seeds_and_draws():
    with reproducible(seed=3, per_rank=True) as run:
        own = run.seed, draw()
    with reproducible(seed=3) as run:
        shared = run.seed, draw()
    return {"own": own, "shared": shared, "decorated": decorated()}

rank = int(os.environ["RANK"])
launched = seeds_and_draws()
torch.distributed.init_process_group("gloo")
os.environ["RANK"] = "9"  # what the process group says counts
initialised = seeds_and_draws()
with reproducible(seed=3):
    total = torch.rand(4)
    mine = total.clone()
    torch.distributed.all_reduce(total)
torch.distributed.destroy_process_group()
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump([launched, initialised, torch.equal(total, 2 * mine)], file)
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed")
def test_each_rank_of_a_distributed_run_has_its_own_derived_seed_or_all_the_same(tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    finished = subprocess.run(
        [*launcher, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    for rank in (0, 1):
        launched, initialised, summed_equal = json.loads((tmp_path / f"{rank}.json").read_text())
        seed = derive_seed(3, "rank", rank)
        assert launched == initialised
        assert launched["own"][0] == seed
        assert launched["own"][1] == launched["decorated"]
        assert launched["shared"] == [3, list(stream(3, 1)[0])]
        assert launched["own"][1] != launched["shared"][1]
        assert summed_equal
