"""Pictures: of a report, the runs' losses and below them which modules differ at which steps; and of the demo.

Nothing global is changed: neither pyplot nor matplotlib's settings are touched.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import clipped, explain
from ..trace.comparing.divergence import Divergence
from .curves import BESIDE_MODULES, DIFFERS, SAME, Curve, Curves

try:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle
    from matplotlib.ticker import LogLocator, MaxNLocator
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "matplotlib":
        raise
    raise ModuleNotFoundError(
        explain(
            "a picture needs a package that is not installed",
            ("missing: matplotlib",),
            "Install what it needs: pip install 'deterministic[plot]'",
        ),
        name="matplotlib",
    ) from error

MOST_CURVES = 3
"""How many numbers are drawn where none of them differs; where one does, it is drawn alone."""

MOST_ROWS, MOST_COLUMNS = 32, 400
"""Of the map. Modules are put together with those beside them, and so are steps, until there are no more than this."""

_COLOURS = ("#0b6e99", "#e07a1f", "#7a3e9d", "#4ea56b", "#b3416b")
_INK, _MUTED, _GRID, _SAME, _RED = "#1f2328", "#6e7781", "#e6e8eb", "#c9dbe6", "#cf222e"

_WIDEST_TITLE = 84  # letters in a line of it
_SHOWS = 0.05  # part of the height of a panel by which curves must be apart to be seen apart


class Picture(Figure):
    """A figure that a notebook shows by itself, also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw(curves: Curves, title: str, *, differs: bool, divergence: Divergence | None) -> Picture:
    """Draw the losses of runs, and below them a map of what differs: modules by steps, its first cell with its line.

    In place of losses there are the numbers that the runs observed or returned, if there are no losses, or if these are
    the same and those are not. Where the curves lie too close to each other to be seen apart, how far each is from the
    first is drawn.
    """
    drawn = _drawn(curves.numbers)
    cells, first = _merged(curves.cells, _first_of(curves, divergence) if differs else None)
    heights = [2.4] * bool(drawn) + [max(0.5, 0.17 * len(cells))] * bool(cells)
    figure = Picture(figsize=(8, 1.6 + sum(heights or [1.0])), dpi=110, layout="constrained", facecolor="white")
    figure.suptitle(_in_even_lines(title), x=0.01, ha="left", fontsize=11, fontweight="bold", color=_INK)
    panels = list(figure.subplots(max(1, len(heights)), 1, squeeze=False, height_ratios=heights or None)[:, 0])
    by_step = not drawn or drawn[0].axis == "step"
    if drawn:
        _draw_numbers(panels[0], curves.names, drawn, at=first[1] if first and by_step else drawn[0].first_apart)
    if cells:
        _draw_map(panels[-1], cells, first, _label(divergence) if first else "")
        if drawn and by_step:
            panels[0].sharex(panels[-1])
            panels[0].tick_params(labelbottom=False)
    if not heights:
        panels[0].text(0.5, 0.5, "nothing to draw was recorded", ha="center", transform=panels[0].transAxes)
        panels[0].set_yticks([])
    for axes in panels:
        _finish(axes)
    return figure


def draw_beside(runs: Mapping[str, Sequence[Sequence[float]]], label: str) -> Picture:
    """Draw in a panel for each title a number of some runs by epoch, all on one scale; to be read on a small screen."""
    figure = Picture(figsize=(7.8, 3.9), dpi=100, layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for axes, (title, of_runs) in zip(panels, runs.items(), strict=True):
        results = len({*map(tuple, of_runs)})
        for index, numbers in enumerate(of_runs):
            # Of those that lie on each other, every one is thinner than the one below it, so that all of them show.
            width = 3.0 if results > 1 else 3.0 * (len(of_runs) - index)
            _line(axes, range(len(numbers)), numbers, "", linewidth=width)
        counted = f"{len(of_runs)} runs, {results} result{'' if results == 1 else 's'}"
        axes.set_title(_plain(f"{title}\n{counted}"), fontsize=15, color=_INK)
        axes.set_xlabel("epoch", fontsize=15, color=_INK)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        _finish(axes)
        axes.tick_params(labelsize=13)
    panels[0].set_ylabel(label, fontsize=15, color=_INK)
    return figure


def _drawn(numbers: Sequence[Curve]) -> list[Curve]:
    """Return which numbers are drawn: that alone which differs first, losses before others; else the first few."""

    def rank(curve: Curve) -> tuple[bool, bool]:
        return curve.axis == "index", curve.kind != "loss"

    curves = sorted([curve for curve in numbers if len(curve.at) > 1] or numbers, key=rank)
    apart = [curve for curve in curves if curve.first_apart is not None]
    if apart:
        return [min(apart, key=lambda curve: (*rank(curve), curve.first_apart))]
    return [curve for curve in curves if rank(curve) == rank(curves[0])][:MOST_CURVES]


def _first_of(curves: Curves, divergence: Divergence | None) -> tuple[str, int] | None:
    """Return the cell that differs first: that of the module of the first operation, if that has one."""
    if curves.first is None:
        return None
    row, step = curves.first
    moment = None if divergence is None else divergence.moment
    module = moment.site.module if moment is not None else ""
    is_there = module in curves.cells and curves.cells[module][step] == DIFFERS
    return (module if is_there else row), step


def _merged(
    cells: Mapping[str, bytes], first: tuple[str, int] | None
) -> tuple[dict[str, np.ndarray], tuple[str, int] | None]:
    """Return the rows of the map, those below a common name as one where there are too many; and the first cell."""
    names = {name: name for name in cells}
    for depth in range(max((name.count(".") for name in names), default=0), 0, -1):
        above = {name: ".".join(name.split(".")[:depth]) for name in names}
        if len({*names.values()}) > MOST_ROWS and len({*above.values()}) > MOST_ROWS // 4:
            names = above
    modules = [name for name in dict.fromkeys(names.values()) if name not in BESIDE_MODULES]
    together = math.ceil(len(modules) / MOST_ROWS)
    beside = {name: modules[index // together * together :][:together] for index, name in enumerate(modules)}
    names = {name: _from_to(beside.get(of, [of])) for name, of in names.items()}
    rows: dict[str, np.ndarray] = {}
    for name, states in cells.items():
        states_now = np.frombuffer(states, np.uint8)
        rows[names[name]] = np.maximum(rows.get(names[name], states_now), states_now)
    return rows, None if first is None else (names[first[0]], first[1])


def _from_to(names: Sequence[str]) -> str:
    return (" and " if len(names) < 3 else " to ").join(dict.fromkeys([names[0], names[-1]]))


def _draw_numbers(axes: Axes, runs: Sequence[str], curves: Sequence[Curve], at: float | None) -> None:
    title = ", ".join(curve.name for curve in curves)
    is_close = len(curves) == 1 and _is_close(curves[0])
    for curve in curves:
        alike: dict[str, list[int]] = {}
        for index, numbers in enumerate(curve.numbers):
            alike.setdefault(repr(numbers), []).append(index)
        for of in alike.values():
            label = ", ".join([_from_to([runs[run] for run in of]), *[curve.name][: len(curves) - 1]])
            drawn = np.array(curve.numbers[of[0]], float)  # None becomes NaN
            if is_close:
                drawn -= np.array(curve.numbers[0], float)
            _line(axes, curve.at, drawn, label)
    title += f", less that of {runs[0]}" if is_close else ""
    axes.set_title(_plain(title), loc="left", fontsize=9, color=_INK)
    _mark(axes, at)
    if curves[0].axis == "index":
        axes.set_xlim(-0.5, len(curves[0].at) - 0.5)
        axes.set_xlabel("number, as recorded", fontsize=9, color=_INK)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, labelcolor=_INK)


def _is_close(curve: Curve) -> bool:
    """Return whether curves differ, and cannot be seen apart."""
    numbers = np.array(curve.numbers, float)
    numbers = numbers[:, np.isfinite(numbers).all(axis=0)]
    return bool(0 < np.ptp(numbers, axis=0).max(initial=0) < _SHOWS * np.ptp(numbers))


def _draw_map(axes: Axes, cells: Mapping[str, np.ndarray], first: tuple[str, int] | None, label: str) -> None:
    image = np.array([*cells.values()])
    steps = image.shape[1]
    starts = np.unique(np.linspace(0, steps, min(steps, MOST_COLUMNS), endpoint=False).astype(int))
    axes.imshow(
        np.maximum.reduceat(image, starts, axis=1),  # so that no cell that differs goes under
        cmap=ListedColormap(["white", _SAME, _RED]),
        vmin=0,
        vmax=DIFFERS,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, steps - 0.5, len(image) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(cells)), [_plain(clipped(name, 32)) for name in cells])
    axes.set_xlabel("optimizer step", fontsize=9, color=_INK)
    states = {"the same": (SAME, _SAME), "differs": (DIFFERS, _RED)}
    handles = [Patch(color=colour, label=name) for name, (state, colour) in states.items() if (image == state).any()]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, labelcolor=_INK)
    if first is None:
        return
    row, step = [*cells].index(first[0]), first[1]
    width = max(1.0, steps / MOST_COLUMNS)
    axes.add_patch(Rectangle((step - 0.5, row - 0.5), width, 1, fill=False, edgecolor=_INK, linewidth=1.5, zorder=6))
    _mark(axes, step)
    part = step / steps
    side = "left" if part < 0.4 else "right" if part > 0.6 else "center"
    above: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "xytext": (0, 4), "textcoords": "offset points"}
    axes.annotate(_plain(label), (step - 0.5, 1), ha=side, va="bottom", fontsize=8, color=_RED, **above)


def _label(divergence: Divergence | None) -> str:
    """Return what differs first, and its line: the user's own, if it is another's that runs there."""
    moment = None if divergence is None else divergence.moment
    if moment is None:
        return "first difference"
    site = moment.site
    name = clipped(site.name.removesuffix(".default") if site.kind == "operation" else f"{site.kind} {site.name}")
    line = clipped(f"{site.users_line.place}   {site.users_line.text}".strip(), 72)
    return "\n".join(filter(None, [f"first difference: {name}".rstrip(), line]))


def _mark(axes: Axes, at: float | None) -> None:
    """Draw a line before the first point or cell that differs."""
    if at is not None:
        axes.axvline(at - 0.5, color=_RED, linewidth=1, linestyle=(0, (3, 2)), zorder=5)


def _line(axes: Axes, at: Sequence[float], numbers: Any, label: str, **style: Any) -> None:
    """Draw a curve, with gaps where there is no number."""
    marker = "o" if len(at) == 1 else "." if len(at) <= 50 else ""
    look = {"color": _COLOURS[len(axes.lines) % len(_COLOURS)], "linewidth": 1.6, "marker": marker}
    axes.plot(at, numbers, label=_plain(label), **{**look, **style})


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(which="both", colors=_MUTED, length=0, labelsize=8)
    if not axes.images:
        axes.grid(which="major", color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _in_even_lines(text: str) -> str:
    """Break a text into as few lines as it needs, none of which is left with a single word."""
    lines = len(textwrap.wrap(text, _WIDEST_TITLE))
    widths = range(1 + len(text) // max(1, lines), _WIDEST_TITLE + 1)
    width = next((width for width in widths if len(textwrap.wrap(text, width)) <= lines), _WIDEST_TITLE)
    return _plain(textwrap.fill(text, width))


def _plain(text: str) -> str:
    """Keep matplotlib from reading formulas into names."""
    return text.replace("$", r"\$")
