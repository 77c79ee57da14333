from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

from deterministic.trace.comparing.divergence import Comparison, Divergence, Moment
from deterministic.trace.comparing.verdict import Verdict
from deterministic.trace.file.model import Site, Step
from deterministic.verification.plot import Picture, draw
from deterministic.verification.report import Report
from tests.verify.written import report_on, two_runs, write_run

NEXT = float(np.nextafter(np.float32(0.5), np.float32(1)))


def panels(report: Report) -> tuple[Axes, Axes]:
    upper, lower = report.plot().axes
    return upper, lower


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(found.get_xdata()).tolist(), np.asarray(found.get_ydata()).tolist()


def marks(axes: Axes) -> list[float]:
    """Where there are lines from the bottom to the top."""
    drawn = [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines]
    return [x[0] for x, y in drawn if y == [0, 1] and x[0] == x[-1]]


def texts(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


def with_operation(report: Report, step: int, site: Site) -> Report:
    """As the report is after the step was replayed with its operations recorded."""
    moment = Moment(site, [1], 3)
    divergence = Divergence(Step(0, step), "ops+inputs", step, moment, moment, [0], 9)
    verdict = Verdict("different", ("run 1", "run 2"), Comparison("ops+inputs", report.steps, divergence))
    return replace(report, verdict=verdict)


def test_the_curves_and_their_distance_are_drawn_and_the_first_difference_is_marked(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [0.75, 0.5, 0.5, 0.25], [0.75, 0.5, NEXT, 0.5])
    site = Site("operation", "aten.index_add_.default", place="train.py:31", function="step")
    upper, lower = panels(with_operation(report, 2, site))
    assert line(upper, "run 1") == ([0, 1, 2, 3], [0.75, 0.5, 0.5, 0.25])
    assert line(upper, "run 2") == ([0, 1, 2, 3], [0.75, 0.5, NEXT, 0.5])
    assert upper.get_ylabel() == "loss"
    assert line(lower, "loss") == ([0, 1, 2, 3], [0, 0, 1, 2**23])
    assert lower.get_ylabel() == "how far apart (ULP of float32)"
    assert lower.get_xlabel() == "optimizer step"
    assert marks(upper) == marks(lower) == [2]
    assert texts(upper) == "first difference at step 2\naten.index_add_\ntrain.py:31"


def test_the_axis_of_the_distance_shows_zero_and_a_distance_of_any_size(tmp_path: Path) -> None:
    _, lower = panels(two_runs(tmp_path, [0.5, 0.5, 1e30], [0.5, NEXT, -1e30]))
    assert lower.get_yscale() == "symlog"
    bottom, top = lower.get_ylim()
    assert bottom < 0
    assert top > max(line(lower, "loss")[1]) > 2**31
    zero, one, far = (lower.transData.transform((0, value))[1] for value in line(lower, "loss")[1])
    assert one - zero > 0.1 * (far - zero)  # far is 2**31 times as much, and a single place still shows
    assert far < lower.transData.transform((0, top))[1]


def test_a_nan_in_one_run_is_marked_and_lies_on_no_curve(tmp_path: Path) -> None:
    _, lower = panels(two_runs(tmp_path, [0.5, 0.5, 0.5], [0.5, math.nan, 0.5]))
    assert line(lower, "loss: NaN in one of them")[0] == [1]
    assert [math.isnan(apart) for apart in line(lower, "loss")[1]] == [False, True, False]


def test_of_several_numbers_the_one_that_differs_first_is_drawn_alone(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [0.5, 0.5, 0.5], [0.5, 0.5, NEXT], names=["a"])
    (later,) = report.curves.numbers
    earlier = replace(later, name="earlier", apart=[0, 1, 0])
    same = replace(later, name="same", apart=[0, 0, 0])
    curves = replace(report.curves, numbers=[same, later, earlier])
    upper, _ = draw(curves, "train", differs=True, divergence=None).axes
    assert upper.get_ylabel() == "earlier"
    assert [line.get_label() for line in upper.lines][:2] == ["run 1", "run 2"]


def test_of_several_numbers_the_first_few_are_drawn_where_none_differs(tmp_path: Path) -> None:
    upper, lower = panels(two_runs(tmp_path, [0.5, 0.5], [0.5, 0.5], names=["a", "b", "c", "d"]))
    assert upper.get_ylabel() == "a, b, c"
    assert line(upper, "run 2, b") == ([0, 1], [0.5, 0.5])
    assert line(lower, "c") == ([0, 1], [0, 0])
    assert marks(upper) == []


def test_without_numbers_it_is_drawn_how_many_of_the_recorded_values_differ(tmp_path: Path) -> None:
    same, share = panels(two_runs(tmp_path, [[], [], []], [[], [], []], gradients=[1, 2, 3]))
    assert line(same, "any")[1] == line(share, "all kinds")[1] == [0, 0, 0]
    write_run(tmp_path / "other", [[], [], []], gradients=[1, 7, 7])
    upper, lower = panels(report_on(tmp_path / "one", tmp_path / "other"))
    assert line(upper, "gradient") == ([0, 1, 2], [0, 1, 1])
    assert upper.get_ylabel() == "recorded values that differ"
    assert line(lower, "all kinds") == ([0, 1, 2], [0, 100, 100])
    assert lower.get_ylabel() == "part of all recorded values (%)"
    assert marks(upper) == [1]
    assert "gradient SGD" in texts(upper)


def test_where_the_numbers_are_the_same_and_the_rest_is_not_the_share_of_that_is_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[0.5], [0.5]], gradients=[1, 2])
    write_run(tmp_path / "other", [[0.5], [0.5]], gradients=[1, 7])
    upper, lower = panels(report_on(tmp_path / "one", tmp_path / "other"))
    assert upper.get_ylabel() == "loss"
    assert line(lower, "all kinds") == ([0, 1], [0, pytest.approx(100 / 3)])


def test_a_returned_list_is_drawn_over_its_places_and_marked_where_it_differs(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[]], returned=[0.5, 0.5, 0.5])
    write_run(tmp_path / "other", [[]], returned=[0.5, 0.5, NEXT])
    upper, lower = panels(report_on(tmp_path / "one", tmp_path / "other"))
    assert line(upper, "run 2") == ([0, 1, 2], [0.5, 0.5, NEXT])
    assert lower.get_xlabel() == "number, as recorded"
    assert marks(upper) == [2]


@pytest.mark.parametrize("outcome", ["same", "different", "could not tell"])
def test_a_report_with_nothing_to_draw_says_so(outcome: Any) -> None:
    report = Report("train", outcome, 2, 0, [1.0, 1.0], None, [], [])
    upper, lower = panels(report)
    assert texts(upper) == texts(lower) == "nothing to draw was recorded"


def test_the_headline_is_the_title_and_names_are_no_formulas(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [0.5, 0.5], [0.5, NEXT], names=["$loss_"])
    figure = replace(report, title="train_$x_{1}$").plot()
    figure.draw_without_rendering()
    title = figure.get_suptitle().replace("\n", " ")
    assert title == "not reproducible: run 2 of train_\\$x_{1}\\$ differs from run 1 first at step 1 of 2"


def test_nothing_global_is_changed_and_a_notebook_can_show_it(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    figure = two_runs(tmp_path, [0.5, 0.5], [0.5, NEXT]).plot(tmp_path / "picture.png")
    assert isinstance(figure, Picture)
    assert dict(mpl.rcParams) == before
    for png in ((tmp_path / "picture.png").read_bytes(), figure._repr_png_()):
        assert png.startswith(b"\x89PNG\r\n\x1a\n")


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a module look as if it were not installed."""

    def hidden(name: str) -> None:
        monkeypatch.delitem(sys.modules, "deterministic.verification.plot")
        for loaded in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, name, None)

    return hidden


def test_without_matplotlib_the_error_says_what_to_install(tmp_path: Path, hide: Callable[[str], None]) -> None:
    report = two_runs(tmp_path, [0.5], [NEXT])
    hide("matplotlib")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'deterministic\[plot\]'") as error:
        report.plot()
    assert error.value.name == "matplotlib"
    assert "<img" not in report._repr_html_()


def test_what_matplotlib_itself_lacks_is_not_blamed_on_it(tmp_path: Path, hide: Callable[[str], None]) -> None:
    report = two_runs(tmp_path, [0.5], [NEXT])
    hide("cycler")
    with pytest.raises(ModuleNotFoundError) as error:
        report.plot()
    assert error.value.name == "cycler"
