from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from deterministic._verify import curves as curves_module
from deterministic._verify import points
from deterministic._verify.curves import Curves, curves_of
from deterministic._verify.verify import verify
from deterministic.trace.record import record
from tests.verify.written import two_runs, write_run

NEXT = float(np.nextafter(np.float32(0.5), np.float32(1)))


def test_a_number_is_counted_in_the_places_of_the_tensor_that_it_was(tmp_path: Path) -> None:
    for dtype, expected in (("float32", 1), ("float64", 2**29)):
        (curve,) = two_runs(tmp_path, [0.5, 0.5, 0.5], [0.5, NEXT, 0.5], dtype=dtype).curves.numbers
        assert (curve.name, curve.axis, curve.dtype) == ("loss", "step", dtype)
        assert curve.apart == [0, expected, 0]
        assert curve.first_apart == 1
        assert curve.numbers == [(0.5, 0.5, 0.5), (0.5, NEXT, 0.5)]


@pytest.mark.parametrize(("number", "dtype"), [(NEXT, "float32"), (0.1, "float64")])
def test_a_python_float_is_counted_as_float32_only_where_all_of_them_are_such(
    tmp_path: Path, number: float, dtype: str
) -> None:
    write_run(tmp_path / "one", [[]], returned=[0.5, 0.5])
    write_run(tmp_path / "other", [[]], returned=[0.5, number])
    (curve,) = curves_of([tmp_path / "one", tmp_path / "other"], ["run 1", "run 2"]).numbers
    assert (curve.name, curve.dtype) == ("returned", dtype)


def test_a_returned_list_of_numbers_is_a_curve_over_its_places() -> None:
    (curve,) = verify(lambda: [torch.rand(()).item() for _ in range(5)], runs=2).curves.numbers
    assert (curve.name, curve.axis, curve.at) == ("returned", "index", [0, 1, 2, 3, 4])
    assert curve.apart == [0] * 5


def test_whole_numbers_are_subtracted_and_a_float_among_them_is_counted() -> None:
    for other, dtype, apart in (([1, 4, 3], "int", [0, 2, 0]), ([1, 2.5, 3], "float32", [0, 2**21, 0])):
        returned = iter([[1, 2, 3], other])
        (curve,) = verify(lambda: next(returned, None), runs=2).curves.numbers  # noqa: B023 - called at once
        assert (curve.dtype, curve.apart) == (dtype, apart)


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
        {"name": "loss", "axis": "step", "dtype": "float32", "first_apart": 1, "most_ulps_apart": "infinite"}
    ]


def test_what_differs_is_counted_by_kind_at_each_step(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[0.5], [0.5], [0.5]], gradients=[1, 2, 3])
    write_run(tmp_path / "other", [[0.5], [0.5], [NEXT]], gradients=[1, 4, 5])
    curves = curves_of([tmp_path / "one"] * 2 + [tmp_path / "other"], ["run 1", "run 2", "run 3"])
    assert curves.steps == [0, 1, 2]
    assert curves.differing == {"gradient": [0, 1, 1], "observed": [0, 0, 2]}
    assert curves.recorded == [3, 3, 3]


def test_what_only_one_run_recorded_differs(tmp_path: Path) -> None:
    longer, shorter = [[0.5], [0.5, 0.25], [0.5]], [[0.5], [0.5]]
    for runs in ((longer, shorter), (shorter, longer)):
        assert two_runs(tmp_path, *runs).curves.differing == {"observed": [0, 2, 2], "gradient": [0, 0, 1]}


def test_only_so_many_names_are_kept_and_the_one_that_differs_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves_module, "MOST_NAMES", 2)
    for run, last in (("one", 0.5), ("other", NEXT)):
        values = {f"metric {index}": 0.5 for index in range(4)} | {"last": last, "after": last}
        with record(tmp_path / run, "values") as trace:
            for name, value in values.items():
                trace.observe(name, torch.tensor(value))
    same = curves_of([tmp_path / "one", tmp_path / "one"], ["run 1", "run 2"])
    assert [curve.name for curve in same.numbers] == ["metric 0", "metric 1"]
    different = curves_of([tmp_path / "one", tmp_path / "other"], ["run 1", "run 2"])
    assert [curve.name for curve in different.numbers] == ["metric 0", "metric 1", "last"]


def test_a_long_run_is_thinned_out_and_keeps_its_first_difference_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "MOST_POINTS", 100)
    steps, first, later = 2000, 777, 1500
    losses = [1 / (1 + step) for step in range(steps)]
    other = list(losses)
    other[first] = math.nextafter(losses[first], 1)
    other[later] = 2 * losses[later]
    report = two_runs(tmp_path, losses, other, dtype="float64")
    (curve,) = report.curves.numbers
    assert report.divergence is not None
    assert report.divergence.segment == curve.first_apart == first
    exact = list(curve.at).index(first)
    assert [run[exact] for run in curve.numbers] == [losses[first], other[first]]
    assert curve.apart[exact] == 1
    assert set(curve.apart[:exact]) == {0}
    assert max(apart for apart in curve.apart if apart is not None) == 2**52
    assert report.curves.differing["observed"][list(report.curves.steps).index(first)] == 2
    assert report.curves.is_thinned
    for at in (curve.at, report.curves.steps):
        assert all(one < following for one, following in pairwise(at))
        assert len(at) < 2 * 100 + 10


def test_no_traces_are_no_curves() -> None:
    assert not curves_of([], [])
    assert not Curves()
