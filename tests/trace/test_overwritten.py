"""Values that are written over before anything reads them are not what two runs differ by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deterministic import diff, record, reproducible, verify
from deterministic.trace.comparing.reasons import Reason
from deterministic.trace.comparing.verdict import Verdict

WEIGHTS = nn.Linear(4, 4).state_dict()


def noise() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng().normal(size=(2, 4))).float()


def compared(folder: Path, function: Callable[[], Any]) -> Verdict:
    for name in ("a", "b"):
        with reproducible(seed=None, deterministic=False), record(folder / name) as recording:
            recording.observe("result", function())
    (verdict,) = diff(folder / "a", folder / "b").verdicts
    return verdict


def first_of(verdict: Verdict) -> tuple[str, Reason]:
    assert verdict.comparison is not None
    assert verdict.comparison.divergence is not None
    assert verdict.comparison.divergence.first is not None
    assert verdict.cause is not None
    return verdict.comparison.divergence.first.site.name, verdict.cause.reason


def loaded_over() -> torch.Tensor:
    torch.seed()
    model = nn.Linear(4, 4)
    model.load_state_dict(WEIGHTS)
    torch.manual_seed(0)
    return model(noise()) * torch.rand(1)  # type: ignore[no-any-return]


def test_an_initialisation_that_is_loaded_over_is_not_the_culprit_and_is_mentioned(tmp_path: Path) -> None:
    verdict = compared(tmp_path, loaded_over)
    assert first_of(verdict) == ("aten.lift_fresh.default", Reason.OUTSIDE)
    rows = dict(verdict.rows())
    assert rows["before it"].startswith("aten.uniform_")
    assert rows["before it"].endswith("differs too, but was overwritten before any recorded operation read it")
    data = verdict.as_data()["first_difference"]["overwritten"]
    assert [moment["name"] for moment in data] == ["aten.uniform_.default"] * 2


def test_verify_looks_past_it_too() -> None:
    verdict = verify(loaded_over, runs=2, control=reproducible(seed=None, deterministic=False)).verdict
    assert verdict is not None
    assert first_of(verdict) == ("aten.lift_fresh.default", Reason.OUTSIDE)


def written_over_after(read: Callable[[torch.Tensor], Any]) -> Callable[[], Any]:
    def body() -> Any:
        torch.seed()
        values = torch.empty(3).normal_()
        kept = read(values)
        values.zero_()
        torch.manual_seed(0)
        return noise(), values, kept

    return body


@pytest.mark.parametrize(
    ("read", "is_first"),
    [
        (lambda values: None, False),
        (lambda values: values.shape, False),
        (lambda values: values.view(1, 3), False),
        (lambda values: values[1:].fill_(1), False),
        (lambda values: values + 1, True),
        (lambda values: values.view(1, 3) + 1, True),
        (lambda values: values[1:].sum().item(), True),
        (lambda values: values.add_(1), True),
        (lambda values: nn.Identity()(values), True),
    ],
)
def test_what_was_read_before_is_the_culprit(
    tmp_path: Path, read: Callable[[torch.Tensor], Any], is_first: bool
) -> None:
    name, _ = first_of(compared(tmp_path, written_over_after(read)))
    assert name == ("aten.normal_.default" if is_first else "aten.lift_fresh.default")


def test_a_draw_that_a_later_draw_depends_on_is_the_culprit(tmp_path: Path) -> None:
    def body() -> Any:
        torch.seed()
        values = torch.empty(3).normal_()
        values.zero_()
        return values + torch.rand(1)

    assert first_of(compared(tmp_path, body)) == ("aten.normal_.default", Reason.GENERATOR)


def test_where_nothing_else_differs_it_is_told_for_numpy_may_have_read_it(tmp_path: Path) -> None:
    def body() -> Any:
        torch.seed()
        values = torch.empty(3).normal_()
        values.numpy().sum()
        values.zero_()
        torch.manual_seed(0)
        return values

    verdict = compared(tmp_path, body)
    assert verdict.outcome == "different"
    assert first_of(verdict) == ("aten.normal_.default", Reason.GENERATOR)
