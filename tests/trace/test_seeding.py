"""Who seeds a generator while something is open: each call is noted with its line, and nothing is left behind."""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import MethodType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from deterministic import record, reproducible, seed_everything
from deterministic.errors import ScopeOrderWarning
from deterministic.ground import snapshot
from deterministic.sources import SOURCES
from deterministic.trace.recording.seeding import MOST

from ..compiling import Counting
from .recorded import recorded

SEEDS: dict[str, tuple[Callable[[], Any], str]] = {
    "torch.manual_seed": (lambda: torch.manual_seed(7), "torch"),
    "torch.random.manual_seed": (lambda: torch.random.manual_seed(seed=7), "torch"),
    "numpy": (lambda: np.random.seed(7), "numpy.random"),
    "python": (lambda: random.seed(a=7), "python.random"),
}


def functions() -> list[Any]:
    return [torch.cuda.manual_seed_all, np.random.seed, random.seed]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before, sources = functions(), snapshot.capture(SOURCES)
    yield
    snapshot.restore(sources)
    assert all(one is other for one, other in zip(before, functions(), strict=True))


@pytest.mark.parametrize("name", SEEDS)
def test_a_call_is_noted_with_its_seed_and_line(name: str) -> None:
    seed, generator = SEEDS[name]
    place = f"tests/trace/test_seeding.py:{seed.__code__.co_firstlineno}"
    with reproducible(0) as run:
        seed()
        assert run.report().data["seeded"] == [{"generator": generator, "seed": "7", "place": place}]
    assert recorded(seed).recorder.summary()["seeded"] == [(generator, "7", place)]


def test_a_seed_that_the_system_gives_is_told_where_it_can_be() -> None:
    with reproducible(0) as run:
        seed = torch.seed()
        random.seed()
        np.random.seed()
        found = [note["seed"] for note in run.report().data["seeded"]]
    assert found == [str(seed), "None", "None"]


def test_what_this_library_seeds_is_not_noted() -> None:
    with reproducible(0) as outer:
        seed_everything(3)
        with reproducible(1) as inner:
            inner.generator("split")
        outer.load_state_dict(outer.state_dict())
        for run in (outer, inner):
            assert run.report().data["seeded"] == []


def test_each_scope_has_what_was_seeded_in_it() -> None:
    with reproducible(0) as outer:
        random.seed(1)
        with reproducible(0) as inner:
            random.seed(2)
        random.seed(3)
    assert [note["seed"] for note in outer.report().data["seeded"]] == ["1", "2", "3"]
    assert [note["seed"] for note in inner.report().data["seeded"]] == ["2"]


def test_what_is_seeded_while_a_body_is_suspended_is_not_its_own() -> None:
    plain = functions()
    reports = []

    @reproducible(0)
    def body() -> Generator[None, None, None]:
        from deterministic import current_run

        random.seed(1)
        yield
        random.seed(3)
        reports.append(current_run().report().data["seeded"])
        yield

    running = body()
    next(running)
    assert functions() == plain
    state = random.getstate()
    random.seed(2)
    random.setstate(state)
    next(running)
    running.close()
    assert [note["seed"] for note in reports[0]] == ["1", "3"]


def test_the_functions_are_back_after_scopes_and_recordings_in_any_order(tmp_path: Path) -> None:
    plain = functions()
    outer, recording, inner = reproducible(0), record(tmp_path / "a.trace"), reproducible(1)
    outer.__enter__()
    recording.__enter__()
    inner.__enter__()
    with pytest.warns(ScopeOrderWarning):
        outer.__exit__(None, None, None)
    assert functions() != plain
    inner.__exit__(None, None, None)
    assert functions() != plain
    recording.__exit__(None, None, None)
    assert functions() == plain


def test_what_the_user_puts_there_meanwhile_stays_and_is_called_once() -> None:
    original = random.seed
    patch = mock.patch.object(random, "seed", wraps=original)
    scope = reproducible(0)
    scope.__enter__()
    mocked = patch.__enter__()
    random.seed(5)
    scope.__exit__(None, None, None)
    assert random.seed is mocked
    patch.__exit__(None, None, None)  # puts back what stood there inside the scope
    with reproducible(0) as run:
        random.seed(6)
        assert [note["seed"] for note in run.report().data["seeded"]] == ["6"]
    assert random.seed is original
    assert mocked.call_count == 1


def test_notes_are_bounded() -> None:
    with reproducible(0) as run:
        for seed in range(3 * MOST):
            random.seed(seed)
        assert len(run.report().data["seeded"]) == MOST


def test_the_functions_are_pickled_by_name_for_another_process() -> None:
    with reproducible(0):
        inside = pickle.dumps(functions()[:2])
        assert pickle.loads(inside) == functions()[:2]
    assert pickle.loads(inside) == functions()[:2]


def test_python_s_function_is_a_method_of_the_same_generator_so_that_dynamo_and_pickle_know_it() -> None:
    outside = random.seed
    with reproducible(0):
        inside = random.seed
        assert inside != outside
        assert isinstance(inside, MethodType)
        assert inside.__reduce__() == outside.__reduce__()


def test_the_functions_take_and_return_what_they_did() -> None:
    with reproducible(0):
        assert torch.manual_seed(3) is torch.default_generator
        assert torch.seed() == torch.initial_seed()
        np.random.seed([1, 2])
        drawn = np.random.rand()
        with pytest.raises(TypeError):
            random.seed(1, 2, 3)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            torch.manual_seed()  # type: ignore[call-arg]
    assert drawn == np.random.RandomState([1, 2]).rand()


@pytest.mark.parametrize("seed", ["torch.seed()", "torch.manual_seed(3)", "random.seed(3)"])
def test_compiled_code_has_the_same_graphs_inside_and_outside(seed: str) -> None:
    names = {"torch": torch, "random": random}
    exec(compile(f"def step(x):\n    y = x.sin()\n    {seed}\n    return y * 2", "step.py", "exec"), names)
    step: Any = names["step"]
    reset: Any = torch._dynamo.reset

    def graphs() -> int:
        reset()
        backend = Counting()
        compiled: Any = torch.compile(step, backend=backend)
        assert torch.equal(compiled(torch.ones(2)), step(torch.ones(2)))
        return backend.graphs

    outside = graphs()
    with reproducible(0, deterministic=False) as run:
        assert graphs() == outside
        assert run.report().data["seeded"]


def test_compiled_code_seeds_python_as_it_does_uncompiled() -> None:
    def step(x: torch.Tensor) -> torch.Tensor:
        random.seed(3)
        return x.sin()

    reset: Any = torch._dynamo.reset
    reset()
    compiled: Any = torch.compile(step, backend=Counting())
    with reproducible(0, deterministic=False):
        for _ in range(2):
            compiled(torch.ones(2))
            assert random.random() == random.Random(3).random()


def test_the_functions_of_torch_are_the_same_inside_so_that_whoever_knows_them_knows_them() -> None:
    names = [(torch, "manual_seed"), (torch, "seed"), (torch.random, "manual_seed"), (torch.random, "seed")]
    outside = [getattr(module, name) for module, name in names]
    with reproducible(0):
        assert [getattr(module, name) for module, name in names] == outside


def test_a_call_of_a_package_is_told_by_the_user_s_own_line() -> None:
    pyro = pytest.importorskip("pyro")
    with reproducible(0) as run:
        pyro.set_rng_seed(4)
        found = run.report().data["seeded"]
    line = sys._getframe().f_lineno - 2
    assert {(note["generator"], note["seed"], note["place"]) for note in found} == {
        (generator, "4", f"tests/trace/test_seeding.py:{line}")
        for generator in ("torch", "numpy.random", "python.random")
    }
