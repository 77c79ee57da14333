"""The demo's picture: uncontrolled loss curves fan out, controlled ones lie on each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from .verdict import SEED, Run

_FREE = ("#0b6e99", "#e07a1f", "#7a3e9d")
_SAME = ("#cfe8d5", "#93cba3", "#4ea56b", "#14532d")
_WIDTHS = (9.0, 6.0, 3.5, 1.2)
"""Every curve is thinner than the one below it, so that all of them show where they lie on each other."""
_INK, _MUTED, _GRID = "#1f2328", "#6e7781", "#e6e8eb"


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw the held-out loss of every run over the epochs, as a PNG.

    Changes nothing global: neither pyplot nor matplotlib's settings are touched.

    Args:
        runs: What the demo ran.
        path: The file; it is replaced if it is there.
    """
    free = [run for run in runs if run.seed is None]
    same = [run for run in runs if run.seed == SEED]
    other = [run for run in runs if run.seed not in (None, SEED)]
    figure = Figure(figsize=(10, 4.4), dpi=160, layout=ConstrainedLayoutEngine(wspace=0.04), facecolor="white")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for number, run in enumerate(free):
        _curve(left, run, color=_FREE[number % len(_FREE)], width=1.6)
    for number, run in enumerate(same):
        _curve(right, run, color=_SAME[number % len(_SAME)], width=_WIDTHS[number % len(_WIDTHS)])
    for run in other:
        _curve(right, run, color=_MUTED, width=1.2, dashed=True)
    _finish(left, f"Uncontrolled: {_results(free)}")
    _finish(right, f"reproducible(seed={SEED}): {_results(same)}")
    left.set_ylabel("held-out loss (nats)", color=_INK)
    figure.savefig(path, format="png")


def _curve(axes: Axes, run: Run, *, color: str, width: float, dashed: bool = False) -> None:
    axes.plot(
        range(len(run.outcome.losses)),
        run.outcome.losses,
        color=color,
        linewidth=width,
        linestyle=(0, (4, 3)) if dashed else "solid",
        solid_capstyle="round",
        label=f"{run.label:<14}  {run.outcome.weights}",
    )


def _results(runs: Sequence[Run]) -> str:
    count = len({run.outcome for run in runs})
    return f"{len(runs)} runs, {count} result{'' if count == 1 else 's'}"


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=_INK, pad=10)
    axes.set_xlabel("epoch", color=_INK)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.5, 1, 2, 5]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(which="major", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=_MUTED, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    legend = axes.legend(
        title=f"{'run':<14}  {'weights':<16}",
        loc="upper right",
        frameon=False,
        labelcolor=_INK,
        prop={"family": "monospace", "size": 8},
        title_fontproperties={"family": "monospace", "size": 8},
        alignment="right",
        handlelength=2.4,
        borderaxespad=0.2,
    )
    legend.get_title().set_color(_MUTED)
