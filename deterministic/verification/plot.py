"""The picture of a report: the runs' curves, and below them how far apart they are, with the first difference marked.

Nothing global is changed: neither pyplot nor matplotlib's settings are touched.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import explain
from ..trace.comparing.divergence import Divergence
from ..trace.comparing.verdict import when
from .curves import Curve, Curves

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
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

_COLOURS = ("#0b6e99", "#e07a1f", "#7a3e9d", "#4ea56b", "#b3416b")
_STYLES = ("solid", (0, (4, 2)), (0, (1, 1.5)))
_WIDEST, _THINNER = 6.0, 0.6
"""Every curve is thinner than the one below it, so that all of them show where they lie on each other."""
_INK, _MUTED, _GRID, _RED = "#1f2328", "#6e7781", "#e6e8eb", "#cf222e"


class Picture(Figure):
    """A figure that a notebook shows by itself, also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw(curves: Curves, title: str, *, differs: bool, divergence: Divergence | None) -> Picture:
    """Draw runs over the steps, in two panels, whatever came of them.

    Above are the numbers that the runs observed or returned: the one that differs first, or the first few; below, how
    far apart the runs are, in units in the last place. Where there are no such numbers, above is how many of the
    recorded values differ, by what they are, and below, what part of all that is.

    Args:
        curves: What to draw.
        title: What stands above.
        differs: Whether the runs do.
        divergence: Where they first do, if that is known.
    """
    figure = Picture(figsize=(8, 5.6), dpi=110, layout="constrained", facecolor="white")
    upper, lower = figure.subplots(2, 1, sharex=True)
    drawn = _drawn(curves, differs=differs)
    if drawn:
        _draw_numbers(upper, curves.names, drawn)
        if differs and all(curve.first_apart is None for curve in drawn):
            _draw_share(lower, curves)  # what differs is something else
        else:
            _draw_apart(lower, drawn)
    elif curves.steps:
        _draw_differing(upper, curves)
        _draw_share(lower, curves)
    else:
        for axes in (upper, lower):
            axes.text(0.5, 0.5, "nothing to draw was recorded", ha="center", transform=axes.transAxes, color=_MUTED)
            axes.set_yticks([])
    title = textwrap.fill(_plain(title), 80)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=_INK)
    by_index = bool(drawn) and drawn[0].axis == "index"
    if divergence is not None:
        step = None if divergence.step is None else divergence.segment
        _mark(upper, lower, drawn[0].first_apart if by_index else step, divergence)
    lower.set_xlabel("number, as recorded" if by_index else "optimizer step", color=_INK)
    for axes in (upper, lower):
        _finish(axes)
    return figure


def _drawn(curves: Curves, *, differs: bool) -> list[Curve]:
    """Return the curves that are drawn by their numbers; none where counting says more."""
    drawn = [curve for curve in curves.numbers if len(curve.at) > 1]
    if not drawn and not any(step > 0 for step in curves.steps):
        drawn = list(curves.numbers)
    apart = [curve for curve in drawn if curve.first_apart is not None]
    if apart:
        return [min(apart, key=lambda curve: (curve.axis == "index", curve.first_apart))]
    if differs:
        drawn = [curve for curve in drawn if curve.axis == "step"]  # with what differs below, by step
    return [curve for curve in drawn if curve.axis == drawn[0].axis][:MOST_CURVES]


def _draw_numbers(axes: Axes, runs: Sequence[str], curves: Sequence[Curve]) -> None:
    for curve, style in zip(curves, _STYLES, strict=False):
        for index, (run, numbers) in enumerate(zip(runs, curve.numbers, strict=True)):
            label = run if len(curves) == 1 else f"{run}, {curve.name}"
            _line(axes, curve.at, numbers, label, linestyle=style, **_look(index))
    axes.set_ylabel(_plain(", ".join(curve.name for curve in curves)), color=_INK)


def _draw_apart(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve, style in zip(curves, _STYLES, strict=False):
        apart = [math.nan if far == math.inf else far for far in curve.apart]
        _line(axes, curve.at, apart, curve.name, linestyle=style)
        beyond = [at for at, far in zip(curve.at, curve.apart, strict=True) if far == math.inf]
        if beyond:
            at_top = {"transform": axes.get_xaxis_transform(), "color": _RED, "linestyle": "none", "marker": "x"}
            _line(axes, beyond, [0.97] * len(beyond), f"{curve.name}: NaN in one of them", **at_top)
    dtypes = {curve.dtype for curve in curves}
    unit = "ULP" if len(dtypes) > 1 else "difference" if dtypes == {"int"} else f"ULP of {curves[0].dtype}"
    axes.set_ylabel(f"how far apart ({unit})", color=_INK)
    axes.set_yscale("symlog", linthresh=1)
    finite = [apart for curve in curves for apart in curve.apart if apart is not None and apart != math.inf]
    axes.set_ylim(bottom=-0.2, top=2.0 * max(1.0, *finite, 1.0))


def _draw_differing(axes: Axes, curves: Curves) -> None:
    for index, (kind, counts) in enumerate((curves.differing or {"any": [0] * len(curves.steps)}).items()):
        _line(axes, curves.steps, counts, kind, **_look(index))
    axes.set_ylabel("recorded values that differ", color=_INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=-0.2, top=max(1.5, axes.get_ylim()[1]))


def _draw_share(axes: Axes, curves: Curves) -> None:
    differing = [sum(counts) for counts in zip(*curves.differing.values(), strict=True)] or [0] * len(curves.steps)
    shares = [
        min(100.0, 100.0 * count / recorded if recorded else 100.0 * bool(count))
        for count, recorded in zip(differing, curves.recorded, strict=True)
    ]
    _line(axes, curves.steps, shares, "all kinds")
    axes.set_ylabel("part of all recorded values (%)", color=_INK)
    axes.set_ylim(-3, 103)


def _line(axes: Axes, at: Sequence[float], numbers: Sequence[float | None], label: str, **style: Any) -> None:
    """Draw a curve, with gaps where there is no number."""
    marker = "o" if len(at) == 1 else "." if len(at) <= 50 else ""
    style = {"color": _INK, "linewidth": 1.2, "marker": marker, **style}
    axes.plot(at, np.array(numbers, float), label=_plain(label), **style)  # None becomes NaN


def _look(index: int) -> dict[str, Any]:
    return {"color": _COLOURS[index % len(_COLOURS)], "linewidth": max(1.2, _WIDEST * _THINNER**index)}


def _mark(upper: Axes, lower: Axes, at: float | None, divergence: Divergence) -> None:
    """Draw a line through both panels where the runs first differ, labelled with what does, and its source line."""
    if at is None:
        return
    for axes in (upper, lower):
        axes.axvline(at, color=_RED, linewidth=1, linestyle=(0, (3, 2)), zorder=5)
    moment = divergence.first or divergence.second
    texts = [f"first difference {when(divergence.step)}"]
    if moment is not None:
        site = moment.site
        name = site.name.removesuffix(".default") if site.kind == "operation" else f"{site.kind} {site.name}"
        texts += [name.strip(), site.place]
    left, right = upper.get_xlim()
    is_late = at > (left + right) / 2
    upper.annotate(
        _plain("\n".join(textwrap.fill(text, 48) for text in texts if text)),
        (at, 1),
        xycoords=upper.get_xaxis_transform(),
        xytext=(-5 if is_late else 5, -4),
        textcoords="offset points",
        ha="right" if is_late else "left",
        va="top",
        fontsize=8,
        color=_RED,
        zorder=6,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(which="major", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=_MUTED, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    if axes.dataLim.width == 0:  # a single point
        axes.set_xlim(axes.dataLim.x0 - 0.5, axes.dataLim.x0 + 0.5)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(loc="best", frameon=False, fontsize=8, labelcolor=_INK)


def _plain(text: str) -> str:
    """Keep matplotlib from reading formulas into names."""
    return text.replace("$", r"\$")
