from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deterministic import reproducible
from deterministic.trace.file import payloads
from deterministic.trace.file.model import TraceLevel
from deterministic.trace.recording.record import record
from deterministic.verification import curves as curves_module
from deterministic.verification.curves import DIFFERS, SAME, Curves, curves_of
from deterministic.verification.verify import verify
from tests.verify.written import two_runs, write_run

NEXT = float(np.nextafter(np.float32(0.5), np.float32(1)))


def test_a_curve_has_the_numbers_of_each_run_and_how_far_they_are_apart(tmp_path: Path) -> None:
    (curve,) = two_runs(tmp_path, [0.5, 0.5, 0.5], [0.5, NEXT, 0.5]).curves.numbers
    assert (curve.name, curve.kind, curve.axis) == ("loss", "observed", "step")
    assert curve.apart == [0, NEXT - 0.5, 0]
    assert curve.first_apart == 1
    assert curve.numbers == [(0.5, 0.5, 0.5), (0.5, NEXT, 0.5)]


def test_numbers_that_compare_equal_and_have_other_bits_are_apart(tmp_path: Path) -> None:
    (curve,) = two_runs(tmp_path, [0.5, 0.0], [0.5, -0.0]).curves.numbers
    assert curve.first_apart == 1


def test_a_returned_list_of_numbers_is_a_curve_over_its_places() -> None:
    (curve,) = verify(lambda: [torch.rand(()).item() for _ in range(5)], runs=2).curves.numbers
    assert (curve.name, curve.axis, curve.at) == ("returned", "index", [0, 1, 2, 3, 4])
    assert curve.apart == [0] * 5


def test_several_numbers_of_one_step_lie_within_it_in_their_order(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [[0.1, 0.2], [0.3], [0.4, 0.5]], [[0.1, 0.2], [0.3], [0.4]])
    (curve,) = report.curves.numbers
    assert curve.at == [0, 0.5, 1, 2, 2.5]
    assert curve.numbers[1] == (0.1, 0.2, 0.3, 0.4, None)
    assert curve.apart == [0, 0, 0, 0, None]


def test_nan_is_infinitely_far_and_the_data_stays_json(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [0.5, 0.5], [0.5, math.nan])
    assert report.curves.numbers[0].apart == [0, math.inf]
    assert report.as_data()["numbers"] == [
        {"name": "loss", "kind": "observed", "axis": "step", "first_apart": 1, "most_apart": "infinite"}
    ]


def test_a_nan_is_no_distance_from_one_of_its_bits_and_infinitely_far_from_one_of_others(tmp_path: Path) -> None:
    (curve,) = two_runs(tmp_path, [math.nan, math.nan], [math.nan, -math.nan]).curves.numbers
    assert (curve.apart, curve.first_apart) == ([0, math.inf], 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2**60, True, 0.5])
def test_numbers_that_only_one_run_has_are_kept_without_a_distance(number: float) -> None:
    returned = iter([{"both": 1.0, "one": number}, {"both": 1.0}])
    both, one = verify(lambda: next(returned), runs=2).curves.numbers
    assert (both.name, both.apart) == ("returned both", [0])
    assert (one.name, one.numbers) == ("returned one", [(number,), (None,)])
    assert (one.apart, one.first_apart, one.as_data()["most_apart"]) == ([None], None, None)


def test_whole_numbers_of_any_size_are_subtracted_exactly() -> None:
    returned = iter([[2**62, -(2**63)], [2**62 + 1, 2**63 - 1]])
    (curve,) = verify(lambda: next(returned), runs=2).curves.numbers
    assert curve.apart == [1, 2**64 - 1]


def test_a_single_run_is_no_distance_from_itself(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[0.5], [0.25]])
    curves = curves_of({"run 1": tmp_path / "one"})
    assert curves.numbers[0].numbers == [(0.5, 0.25)]
    assert curves.numbers[0].apart == [None, None]
    assert curves.cells == {"(top level)": bytes([SAME] * 2), "loss": bytes([SAME] * 2)}
    assert curves.first is None


def test_numbers_of_a_step_that_is_recorded_in_parts_lie_within_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run, longest in (("one", 3), ("other", 1 << 16)):
        monkeypatch.setattr(payloads, "LONGEST_SEGMENT", longest)
        weight = torch.nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        with record(tmp_path / run, "values") as trace:
            for step in range(2):
                for index in range(4):
                    trace.observe("metric", float(step + index))
                weight.sum().backward()
                optimizer.step()
    curves = curves_of({"run 1": tmp_path / "one", "run 2": tmp_path / "other"})
    curve, loss = curves.numbers
    assert (loss.kind, loss.at) == ("loss", [0, 1])
    assert curve.at == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert curve.numbers == [(0, 1, 2, 3, 1, 2, 3, 4)] * 2
    assert curve.apart == [0] * 8


def test_what_differs_is_told_by_module_at_each_step(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[0.5], [0.5], [0.5]], gradients=[1, 2, 3])
    write_run(tmp_path / "other", [[0.5], [0.5], [NEXT]], gradients=[1, 4, 5])
    curves = curves_of({"run 1": tmp_path / "one", "run 2": tmp_path / "one", "run 3": tmp_path / "other"})
    assert curves.cells == {"(top level)": bytes([SAME, DIFFERS, DIFFERS]), "loss": bytes([SAME, SAME, DIFFERS])}
    assert curves.first == ("(top level)", 1)


def test_what_only_one_run_recorded_differs(tmp_path: Path) -> None:
    longer, shorter = [[0.5], [0.5, 0.25], [0.5]], [[0.5], [0.5]]
    for runs in ((longer, shorter), (shorter, longer)):
        cells = two_runs(tmp_path, *runs).curves.cells
        assert cells == {"loss": bytes([SAME, DIFFERS, DIFFERS]), "(top level)": bytes([SAME, SAME, DIFFERS])}


def test_what_one_run_recorded_more_often_leaves_the_rest_of_the_step_comparable(tmp_path: Path) -> None:
    for run, values in (("one", {"a": [1.0, 2.0], "b": [3.0]}), ("other", {"a": [1.0], "b": [3.0], "c": [4.0]})):
        with record(tmp_path / run, "values") as trace:
            for name, numbers in values.items():
                for number in numbers:
                    trace.observe(name, number)
    curves = curves_of({"run 1": tmp_path / "one", "run 2": tmp_path / "other"})
    assert curves.cells == {"a": bytes([DIFFERS]), "b": bytes([SAME]), "c": bytes([DIFFERS])}
    assert [(curve.name, curve.numbers[1]) for curve in curves.numbers] == [
        ("a", (1.0, None)),
        ("b", (3.0,)),
        ("c", (4.0,)),
    ]


def test_only_so_many_names_are_kept_and_the_one_that_differs_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves_module, "MOST_NAMES", 2)
    for run, last in (("one", 0.5), ("other", NEXT)):
        values = {f"metric {index}": 0.5 for index in range(4)} | {"last": last, "after": last}
        with record(tmp_path / run, "values") as trace:
            for name, value in values.items():
                trace.observe(name, torch.tensor(value))
    same = curves_of({"run 1": tmp_path / "one", "run 2": tmp_path / "one"})
    assert [curve.name for curve in same.numbers] == ["metric 0", "metric 1"]
    different = curves_of({"run 1": tmp_path / "one", "run 2": tmp_path / "other"})
    assert [curve.name for curve in different.numbers] == ["metric 0", "metric 1", "last"]


def test_every_point_of_a_long_run_is_kept(tmp_path: Path) -> None:
    steps, first, later = 2000, 777, 1501
    losses = [1 / (1 + step) for step in range(steps)]
    other = list(losses)
    other[first] = math.nextafter(losses[first], 1)
    other[later] = 2 * losses[later]
    report = two_runs(tmp_path, losses, other, dtype="float64")
    (curve,) = report.curves.numbers
    assert list(curve.at) == list(range(steps))
    assert curve.numbers == [tuple(losses), tuple(other)]
    assert report.divergence is not None
    assert report.divergence.segment == curve.first_apart == first
    assert {step: far for step, far in enumerate(curve.apart) if far} == {
        first: other[first] - losses[first],
        later: losses[later],
    }
    assert curve.as_data()["most_apart"] == losses[later]
    found = report.curves.cells["loss"]
    assert found == bytes([DIFFERS if step in (first, later) else SAME for step in range(steps)])
    assert report.curves.first == ("loss", first)


def test_no_traces_are_no_curves() -> None:
    assert not curves_of({})
    assert not Curves()


def test_traces_with_operations_are_drawn_by_the_same_values(tmp_path: Path) -> None:
    def run(path: Path, level: TraceLevel) -> None:
        with record(path, level) as recording:
            for value in (1.0, 2.0):
                recording.observe("loss", (torch.full((2,), value) * 3).sum())

    for level in ("values", "ops+inputs"):
        run(tmp_path / level, level)
    values, operations = (curves_of(dict.fromkeys("ab", tmp_path / level)) for level in ("values", "ops+inputs"))
    assert operations == values
    assert [curve.numbers[0] for curve in operations.numbers] == [(6.0, 12.0)]
    with record(tmp_path / "other", "ops+inputs") as recording:
        recording.observe("loss", torch.ones(2).sum())
    curves_of({"a": tmp_path / "ops+inputs", "b": tmp_path / "other"})


def loss_of(recording: Path) -> list[tuple[str, list[float | None]]]:
    """The losses of a trace, by name."""
    numbers = curves_of({"run 1": recording}).numbers
    return [(curve.name, list(curve.numbers[0])) for curve in numbers if curve.kind == "loss"]


def test_what_backward_is_called_on_is_a_loss_of_the_line_that_calls_it(tmp_path: Path) -> None:
    one, other = (torch.nn.Parameter(torch.ones(())) for _ in "ab")
    optimizers = [torch.optim.SGD([weight], lr=0.5) for weight in (one, other)]
    with record(tmp_path / "a", "values"):
        for _ in range(2):
            one.backward()
            optimizers[0].step()
            (3 * other).backward()
            optimizers[1].step()
    (first, of_one), (second, of_other) = loss_of(tmp_path / "a")
    assert first != second
    assert all(name.startswith("loss at ") and "test_curves.py:" in name for name in (first, second))
    assert (of_one, of_other) == ([1, 0.5], [3, -1.5])


def test_several_backward_passes_of_a_step_are_several_losses(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with record(tmp_path / "a", "ops"):
        for step in range(2):
            for part in range(2):
                (weight * 0 + step + part / 2).backward()
            optimizer.step()
    (curve,) = curves_of({"run 1": tmp_path / "a"}).numbers
    assert (curve.at, curve.numbers) == ([0, 0.5, 1, 1.5], [(0, 0.5, 1, 1.5)])


def test_a_backward_pass_from_many_numbers_or_within_another_is_no_loss(tmp_path: Path) -> None:
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                (7 * torch.ones((), requires_grad=True)).backward()
            return gradient

    weight = torch.ones(2, requires_grad=True)
    with record(tmp_path / "a", "values"):
        (2 * weight).backward(torch.ones(2))
        torch.autograd.grad([weight.sum(), weight.prod()], [weight])
        Inner.apply(weight).sum().backward()  # type: ignore[no-untyped-call]
    assert [numbers for _, numbers in loss_of(tmp_path / "a")] == [[2]]


def test_the_map_tells_data_modules_results_and_losses_apart(tmp_path: Path) -> None:
    def train() -> None:
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(2):
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()

    with reproducible(0), record(tmp_path / "a", "values"):
        train()
    rows = ["data", "0", "2", "model output", "loss", "optimizer options"]
    assert curves_of({"run 1": tmp_path / "a"}).cells == {row: bytes([SAME] * 2) for row in rows}
