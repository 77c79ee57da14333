"""What each level applies, and nothing more: the table of the documentation, read off `describe()`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from deterministic import describe, reproducible
from deterministic.ground.config import LEVELS, Level

from .processes import run_python

GENERATORS = {"python.random", "numpy.random", "torch.cpu"} | ({"torch.cuda"} if torch.version.cuda else set())
"""The generators of a machine without an accelerator."""

Differences = dict[tuple[str, str], tuple[Any, Any]]


def differences(before: Any, after: Any) -> Differences:
    """Return each value that differs, by source and name."""
    assert before.keys() == after.keys()
    return {
        (source, name): (before[source].get(name), after[source].get(name))
        for source in before
        for name in {**before[source], **after[source]}
        if before[source].get(name) != after[source].get(name)
    }


@pytest.fixture
def everything_nondeterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set every flag that a level may set to the other value, so that setting it shows."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with reproducible(seed=None, deterministic=False):
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True
        torch._C._set_deterministic_algorithms(False, warn_only=True)
        if hasattr(torch._C, "_set_mkldnn_deterministic"):
            torch._C._set_mkldnn_deterministic(False)
        yield


CUDNN: Differences = {
    ("torch.cudnn", "deterministic"): (False, True),
    ("torch.cudnn", "benchmark"): (True, False),
}


def algorithms() -> Differences:
    """Return what the two higher levels set in this version of torch."""
    now = describe()
    expected: Differences = {("torch.deterministic_algorithms", "enabled"): (False, True)}
    if "deterministic" in now["torch.mkldnn"]:
        expected["torch.mkldnn", "deterministic"] = (False, True)
    inductor = sys.modules.get("torch._inductor.config")  # where another test has imported it
    if inductor is None or hasattr(inductor, "deterministic"):
        expected["torch.inductor", "deterministic"] = (False, True)
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):
        expected["environment", "CUBLAS_WORKSPACE_CONFIG"] = (None, ":4096:8")
    return expected


def expected_of(level: Level) -> Differences:
    if level is False:
        return {}
    if level == "cudnn":
        return CUDNN
    if level == "warn":
        return CUDNN | algorithms()
    return CUDNN | algorithms() | {("torch.deterministic_algorithms", "warn_only"): (True, False)}


@pytest.mark.usefixtures("everything_nondeterministic")
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_sets_its_flags_and_no_other(level: Level) -> None:
    before = describe()
    with reproducible(seed=None, deterministic=level):
        inside = describe()
    assert differences(before, inside) == expected_of(level)
    assert describe() == before


@pytest.mark.usefixtures("everything_nondeterministic")
@pytest.mark.parametrize("level", LEVELS)
def test_a_seed_moves_every_generator_and_no_further_flag(level: Level) -> None:
    before = describe()
    with reproducible(seed=3, deterministic=level):
        moved = differences(before, describe())
    assert {source for source, _ in moved.keys() - expected_of(level).keys()} == GENERATORS
    assert expected_of(level).items() <= moved.items()
    assert describe() == before


@pytest.mark.usefixtures("everything_nondeterministic")
@pytest.mark.parametrize("level", LEVELS)
def test_filling_of_uninitialised_memory_stays_as_the_user_has_it(level: Level) -> None:
    settings: Any = torch.utils.deterministic
    for fill in (False, True):
        settings.fill_uninitialized_memory = fill
        with reproducible(seed=None, deterministic=level):
            assert settings.fill_uninitialized_memory is fill


def test_warn_switches_an_enclosing_refusal_off_and_gives_it_back() -> None:
    with reproducible(deterministic=True):
        with reproducible(deterministic="warn"):
            assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_false_inside_of_true_leaves_the_flags_of_the_enclosing_scope() -> None:
    with reproducible(deterministic=True), reproducible(deterministic=False):
        assert torch.are_deterministic_algorithms_enabled()


def test_a_refused_operation_raises_at_true_warns_at_warn_and_runs_at_cudnn() -> None:
    def refused() -> None:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))

    with reproducible(0), pytest.raises(RuntimeError, match="deterministic implementation"):
        refused()
    with reproducible(0, deterministic="warn"), pytest.warns(UserWarning, match="deterministic implementation"):
        refused()
    with reproducible(0, deterministic="cudnn"):
        refused()


def test_the_default_level_is_true() -> None:
    with reproducible(seed=0) as run:
        assert run.deterministic is True
        assert torch.are_deterministic_algorithms_enabled()


def test_flags_that_were_frozen_are_set_and_given_back() -> None:
    # torch.testing._internal.common_utils freezes them when it is imported.
    printed = run_python(
        "import torch\n"
        "from deterministic import describe, reproducible\n"
        "torch.backends.disable_global_flags()\n"
        "before = describe()\n"
        "with reproducible(0):\n"
        "    print(torch._C._get_cudnn_deterministic(), torch._C._get_deterministic_algorithms())\n"
        "    torch._C._set_cudnn_benchmark(True)\n"
        "print(describe() == before)\n"
    )
    assert printed == "True True\nTrue"
