"""What `verify` and `compare_levels` advise: of a wrong call, of a refused operation, of samples that differ."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from deterministic import assert_reproducible, compare_levels, diff, make_loader, record, reproducible, verify
from deterministic.verification.report import Report

any_verify: Any = verify
any_compare: Any = compare_levels


def draw(count: int = 1) -> torch.Tensor:
    return torch.rand(count)


def refused() -> torch.Tensor:
    return torch.zeros(3).put_(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    ("call", "verb"), [(any_verify, "verify"), (assert_reproducible, "verify"), (any_compare, "cost")]
)
@pytest.mark.parametrize("script", ["train.py", Path("train.py")])
def test_a_script_is_for_the_command(call: Any, verb: str, script: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"^{call.__name__} needs .*\n.*\nPass a function; .* `deterministic {verb} .train.py"
    ):
        call(script)


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({"n_runs": 2}, "runs=2"),
        ({"num_runs": 2}, "runs=2"),
        ({"seed": 1}, "control=reproducible(seed=1)"),
        ({"random_seed": 1}, "control=reproducible(seed=1)"),
        ({"deterministic": "warn"}, "control=reproducible(deterministic='warn')"),
        ({"warn_only": True}, "control=reproducible(deterministic='warn')"),
        ({"isolated": True}, "isolate=True"),
        ({"cuont": 3}, "count=3"),
    ],
    ids=str,
)
def test_an_argument_that_neither_has_is_told_as_what_it_is_here(arguments: dict[str, Any], written: str) -> None:
    for call in (any_verify, assert_reproducible):
        with pytest.raises(
            TypeError, match=rf"^{call.__name__}\(\) has no such argument\n(.|\n)*Write {re.escape(written)}\.$"
        ):
            call(draw, **arguments)


@pytest.mark.parametrize(("control", "seed"), [(7, 7), (np.int64(0), 0), (None, 42), (reproducible, 42)])
def test_a_seed_as_control_is_told_to_be_a_scope(control: Any, seed: int) -> None:
    with pytest.raises(TypeError, match=rf"For a seed write control=reproducible\(seed={seed}\)\.$"):
        any_verify(draw, control=control)


def test_compare_levels_has_its_own_arguments() -> None:
    with pytest.raises(TypeError, match=r"^compare_levels\(\) has no such argument\n(.|\n)*Write runs=2\.$"):
        any_compare(draw, n_runs=2)
    with pytest.raises(TypeError, match=r"help\(deterministic.compare_levels\)"):
        any_compare(draw, seed=2)


def test_what_a_function_takes_is_the_function_s() -> None:
    def seeded(*, seed: int, **others: int) -> float:
        return float(seed + others["n_runs"])

    assert verify(seeded, runs=2, seed=1, n_runs=3)
    assert verify(torch.rand, 3, runs=2, dtype=torch.float64), "which has no signature"


@pytest.mark.parametrize("call", [any_verify, assert_reproducible])
def test_the_way_out_of_a_refused_operation_is_kept(call: Any) -> None:
    with pytest.raises(RuntimeError) as error:
        call(refused, runs=2)
    shown = "\n".join([str(error.value), *getattr(error.value, "__notes__", ())])
    assert f"called at: {__file__}:{refused.__code__.co_firstlineno + 1}\n" in shown
    assert 'verify(..., control=reproducible(deterministic="warn"))' in shown
    with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
        assert verify(refused, runs=2, control=reproducible(deterministic="warn")), "as it says"


def test_what_is_not_controlled_is_not_advised() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError) as error:
            verify(refused, runs=2, control=False)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not getattr(error.value, "__notes__", ())


class Augmented(Dataset[torch.Tensor]):
    """Keeps a generator of its own."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng()

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.augmented(torch.zeros(1))

    def augmented(self, image: torch.Tensor) -> torch.Tensor:
        return image + torch.tensor(self.generator.normal())


def test_where_a_dataset_draws_past_its_keys_the_loader_s_own_check_is_advised() -> None:
    assert verify(lambda: [*make_loader(Augmented(), batch_size=2, seed=0)], runs=2)
    report = verify(lambda: [*make_loader(Augmented(), batch_size=2, seed=0, held="leave")], runs=2)
    (note,) = [note for note in report.notes if "loader.check()" in note]
    assert "code of a dataset" in note
    loader: Any = make_loader(Augmented(), batch_size=2, seed=0, held="leave")
    with pytest.raises(AssertionError, match="index 3"):
        loader.check()
    elsewhere = verify(lambda: torch.tensor(np.random.default_rng().normal()), runs=2)
    assert elsewhere.outcome == "different"
    assert not [note for note in elsewhere.notes if "loader" in note]


def test_on_a_terminal_a_report_keeps_to_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    differs = verify(lambda: torch.tensor(np.random.default_rng().normal()) + 0 * 1 * 2 * 3 * 4 * 5 * 6 * 7 * 8, runs=2)
    long = "word " * 40 + "x" * 70
    untold = Report("f", "could not tell", 0, 0, [], None, [long, "  File x"], [long])
    monkeypatch.setenv("COLUMNS", "60")
    assert len(str(untold).splitlines()) == 4, "a file has no width"
    monkeypatch.setattr(sys, "stdout", Terminal())
    for report in (differs, untold):
        lines = str(report).splitlines()[1:]
        assert len(lines) > 4
        assert max(len(line) for line in lines if "xxx" not in line) <= 60
    assert str(untold).count("x" * 70) == 2, "no word is broken"
    assert "\n    File x\n" in str(untold), "a traceback stays indented"


def test_a_report_shows_its_first_line_at_a_prompt(tmp_path: Path) -> None:
    report = verify(lambda: torch.tensor(np.random.default_rng().normal()), runs=2)
    with reproducible(seed=3) as run:
        for name in "ab":
            with record(tmp_path / name):
                torch.rand(1)
    found = diff(tmp_path / "a", tmp_path / "b")
    levels = compare_levels(draw, levels=[False], runs=2)
    for shown in (report, report.verdict, run.report(), found, levels):
        first = str(shown).splitlines()[0]
        assert repr(shown) == f"<{first}; print it to see the rest>"
    assert repr(verify(draw, runs=2)) == "<bit-exact: 2 runs of draw>"
