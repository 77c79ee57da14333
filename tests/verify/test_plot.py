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
from matplotlib.patches import Rectangle

from deterministic.trace.comparing.divergence import Comparison, Divergence, Moment
from deterministic.trace.comparing.verdict import Verdict
from deterministic.trace.file.model import Line, Site, Step
from deterministic.verification.curves import DIFFERS, SAME, Curves
from deterministic.verification.plot import MOST_COLUMNS, MOST_ROWS, Picture, draw, draw_beside
from deterministic.verification.report import Report
from tests.verify.written import report_on, two_runs, write_run

NEXT = float(np.nextafter(np.float32(0.5), np.float32(1)))


def panels(report: Report) -> tuple[Axes, Axes]:
    upper, lower = report.plot().axes
    return upper, lower


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(found.get_xdata()).tolist(), np.asarray(found.get_ydata()).tolist()


def labels(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def marks(axes: Axes) -> list[float]:
    """Where there are lines from the bottom to the top."""
    drawn = [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines]
    return [x[0] for x, y in drawn if y == [0, 1] and x[0] == x[-1]]


def texts(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


def rows(axes: Axes) -> dict[str, list[int]]:
    """What the map shows, by its rows."""
    (image,) = axes.images
    shown = np.asarray(image.get_array()).tolist()
    return dict(zip([label.get_text() for label in axes.get_yticklabels()], shown, strict=True))


def first_cell(axes: Axes) -> tuple[float, float]:
    (cell,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return cell.get_x(), cell.get_y()


def with_operation(report: Report, step: int, site: Site) -> Report:
    """As the report is after the step was replayed with its operations recorded."""
    moment = Moment(site, [1], 3)
    divergence = Divergence(Step(0, step), "ops+inputs", step, moment, moment, [0], 9)
    verdict = Verdict("different", ("run 1", "run 2"), Comparison("ops+inputs", report.steps, divergence))
    return replace(report, verdict=verdict)


def with_cells(cells: dict[str, list[int]], first: tuple[str, int] | None) -> Curves:
    return Curves(["run 1", "run 2"], [], {row: bytes(states) for row, states in cells.items()}, first)


def drawn_map(curves: Curves, divergence: Divergence | None = None) -> Axes:
    (axes,) = draw(curves, "train", differs=curves.first is not None, divergence=divergence).axes
    return axes


def test_the_runs_fan_out_from_the_first_difference_and_the_map_has_its_line(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [0.75, 0.5, 0.5, 0.25], [0.75, 0.5, 0.6, 0.5])
    site = Site("operation", "aten.index_add_.default", place="train.py:31", function="step", text="out += x")
    upper, lower = panels(with_operation(report, 2, site))
    assert line(upper, "run 1") == ([0, 1, 2, 3], [0.75, 0.5, 0.5, 0.25])
    assert line(upper, "run 2") == ([0, 1, 2, 3], [0.75, 0.5, 0.6, 0.5])
    assert upper.get_title(loc="left") == "loss"
    assert rows(lower) == {"(top level)": [SAME] * 4, "loss": [SAME, SAME, DIFFERS, DIFFERS]}
    assert lower.get_xlabel() == "optimizer step"
    assert marks(upper) == marks(lower) == [1.5]
    assert first_cell(lower) == (1.5, 0.5)
    assert texts(lower) == "first difference: aten.index_add_\ntrain.py:31   out += x"


def test_runs_that_lie_too_close_to_be_seen_apart_are_drawn_by_their_distance(tmp_path: Path) -> None:
    upper, _ = panels(two_runs(tmp_path, [0.75, 0.5, 0.25], [0.75, NEXT, 0.25]))
    assert upper.get_title(loc="left") == "loss, less that of run 1"
    assert line(upper, "run 1")[1] == [0, 0, 0]
    assert line(upper, "run 2")[1] == [0, NEXT - 0.5, 0]


def test_runs_that_are_the_same_are_one_line_of_both(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[0.5], [0.25]])
    write_run(tmp_path / "other", [[0.5], [0.75]])
    upper, lower = panels(report_on(*[tmp_path / "one"] * 3))
    assert labels(upper) == ["run 1 to run 3"]
    assert (labels(lower), marks(upper)) == (["the same"], [])
    upper, lower = panels(report_on(*[tmp_path / "one"] * 2, tmp_path / "other"))
    assert labels(upper) == ["run 1 and run 2", "run 3"]
    assert labels(lower) == ["the same", "differs"]


def test_a_nan_in_one_run_lies_on_no_curve(tmp_path: Path) -> None:
    upper, _ = panels(two_runs(tmp_path, [0.5, 0.25, 0.5], [0.5, math.nan, 0.5]))
    assert [math.isnan(number) for number in line(upper, "run 2")[1]] == [False, True, False]


def test_of_several_numbers_the_one_that_differs_first_is_drawn_alone_losses_before_others(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [0.5, 0.5, 0.5], [0.5, 0.5, 0.75], names=["a"])
    (later,) = report.curves.numbers
    earlier = replace(later, name="earlier", apart=[0, 1, 0])
    same = replace(later, name="same", kind="loss", apart=[0, 0, 0])
    loss = replace(later, name="a loss", kind="loss")
    for numbers, expected in (([same, later, earlier], "earlier"), ([later, earlier, loss], "a loss")):
        upper, _ = draw(replace(report.curves, numbers=numbers), "train", differs=True, divergence=None).axes
        assert upper.get_title(loc="left") == expected
        assert labels(upper) == ["run 1", "run 2"]


def test_of_several_numbers_the_first_few_are_drawn_where_none_differs(tmp_path: Path) -> None:
    report = two_runs(tmp_path, [0.5, 0.5], [0.5, 0.5], names=["a", "b", "c", "d"])
    upper, _ = panels(report)
    assert upper.get_title(loc="left") == "a, b, c"
    assert line(upper, "run 1 and run 2, b") == ([0, 1], [0.5, 0.5])
    losses = [replace(curve, kind="loss") for curve in report.curves.numbers if curve.name == "d"]
    upper, _ = draw(
        replace(report.curves, numbers=[*report.curves.numbers[:3], *losses]), "", differs=False, divergence=None
    ).axes
    assert upper.get_title(loc="left") == "d"


def test_without_numbers_the_map_is_drawn_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[], [], []], gradients=[1, 2, 3])
    write_run(tmp_path / "other", [[], [], []], gradients=[1, 7, 7])
    (lower,) = report_on(tmp_path / "one", tmp_path / "other").plot().axes
    assert rows(lower) == {"(top level)": [SAME, DIFFERS, DIFFERS]}
    assert marks(lower) == [0.5]
    assert texts(lower) == "first difference: gradient SGD"


def test_a_returned_list_is_drawn_over_its_places_and_marked_where_it_differs(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [[]], returned=[0.5, 0.5, 0.5])
    write_run(tmp_path / "other", [[]], returned=[0.5, 0.5, 0.75])
    upper, lower = panels(report_on(tmp_path / "one", tmp_path / "other"))
    assert line(upper, "run 2") == ([0, 1, 2], [0.5, 0.5, 0.75])
    assert upper.get_xlabel() == "number, as recorded"
    assert marks(upper) == [1.5]
    assert rows(lower)["returned"] == [0, DIFFERS]


def test_the_cell_is_that_of_the_module_of_the_first_operation_if_it_differs_there() -> None:
    curves = with_cells({"a": [SAME, DIFFERS], "b": [SAME, DIFFERS], "c": [SAME, SAME]}, ("a", 1))
    for module, expected in (("b", 0.5), ("c", -0.5), ("a.dropout", -0.5)):
        moment = Moment(Site("operation", "aten.mul.Tensor", module=module, place="net.py:3"), [1], 3)
        axes = drawn_map(curves, Divergence(Step(0, 1), "ops+inputs", 1, moment, moment, [0]))
        assert first_cell(axes) == (0.5, expected)


def test_the_line_is_the_users_own_where_a_packages_runs() -> None:
    callers = (Line("other/package.py:2"), Line("train.py:9", "train", "fit(model)", True))
    moment = Moment(Site("operation", "aten.mul.Tensor", place="package.py:3", text="x * y", callers=callers), [1], 3)
    curves = with_cells({"a": [DIFFERS]}, ("a", 0))
    axes = drawn_map(curves, Divergence(Step(0, 0), "ops+inputs", 0, moment, moment, [0]))
    assert texts(axes) == "first difference: aten.mul.Tensor\ntrain.py:9   fit(model)"


def test_a_large_map_puts_modules_and_steps_together_and_loses_no_cell() -> None:
    flat = {"data": [SAME] * 1000, **{str(index): [SAME] * 1000 for index in range(200)}, "loss": [SAME] * 1000}
    flat["123"][777] = DIFFERS
    axes = drawn_map(with_cells(flat, ("123", 777)))
    shown = rows(axes)
    assert len(shown) <= MOST_ROWS + 2
    assert [*shown][:2] == ["data", "0 to 6"]
    assert [*shown][-1] == "loss"
    assert [row for row, states in shown.items() if DIFFERS in states] == ["119 to 125"]
    assert sum(state == DIFFERS for state in shown["119 to 125"]) == 1
    assert len(shown["data"]) == MOST_COLUMNS
    assert first_cell(axes) == (776.5, [*shown].index("119 to 125") - 0.5)
    deep = {f"layers.{layer}.attention.{name}": [SAME] for layer in range(12) for name in "qkvo"}
    assert [*rows(drawn_map(with_cells(deep, None)))] == [f"layers.{layer}.attention" for layer in range(12)]
    many = {f"layers.{layer}.{name}": [SAME] for layer in range(50) for name in "qkvo"}
    assert [*rows(drawn_map(with_cells(many, None)))][:2] == ["layers.0 and layers.1", "layers.2 and layers.3"]


@pytest.mark.parametrize("outcome", ["same", "different", "could not tell"])
def test_a_report_with_nothing_to_draw_says_so(outcome: Any) -> None:
    (axes,) = Report("train", outcome, 2, 0, [1.0, 1.0], None, [], []).plot().axes
    assert texts(axes) == "nothing to draw was recorded"


def test_no_text_and_no_legend_lies_over_what_is_drawn(tmp_path: Path) -> None:
    names = {"one": [0.5] * 30, "other": [0.5] * 12 + [0.75] * 18}
    for at in (0, 12, 29):
        names["other"] = [0.5] * at + [0.75] * (30 - at)
        figure = two_runs(tmp_path, names["one"], names["other"]).plot()
        figure.draw_without_rendering()
        insides = [axes.get_window_extent() for axes in figure.axes]
        legends = [axes.get_legend() for axes in figure.axes]
        boxes = [legend.get_window_extent() for legend in legends if legend is not None]
        boxes += [text.get_window_extent() for axes in figure.axes for text in [*axes.texts, axes.title]]
        boxes += [text.get_window_extent() for text in figure.texts]
        assert len(boxes) == 6
        assert not any(box.overlaps(inside) for box in boxes if box.width for inside in insides)
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_title_that_is_too_long_for_one_line_is_broken_evenly() -> None:
    title = "not reproducible: run 2 of train.py --epochs 10 --lr 0.1 differs from run 1 first at step 7 of 10"
    figure = draw(Curves(), title, differs=True, divergence=None)
    one, other = figure.get_suptitle().splitlines()
    assert f"{one} {other}" == title
    assert len(other) > len(one) / 2


def test_runs_are_drawn_beside_each_other_on_one_scale_and_their_results_are_counted() -> None:
    free, same = draw_beside({"free": [[2, 1], [2, 1.5], [2, 0.9]], "same": [[2, 1], [2, 1]]}, "loss").axes
    assert (free.get_title(), same.get_title()) == ("free\n3 runs, 3 results", "same\n2 runs, 1 result")
    assert free.get_ylim() == same.get_ylim()
    assert len({line.get_linewidth() for line in same.lines}) == 2  # so that both show
    assert len({line.get_linewidth() for line in free.lines}) == 1


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
