"""A bar chart for each table of docs/benchmarks.md, from the results: `python -m benchmarks.charts [FOLDER]`."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

RESULTS = Path(__file__).with_name("results")
FOLDER = Path(__file__).parents[1] / "docs" / "_static"

Rows: TypeAlias = Mapping[str, Mapping[str, float]]
"""By the name of a row, what its bars are called and how long they are."""

_COLOURS = ("#0b6e99", "#e07a1f", "#7a3e9d", "#4ea56b", "#b3416b", "#8a8f98", "#2f4858", "#c9a227")
_INK, _MUTED, _GRID = "#1f2328", "#6e7781", "#e6e8eb"


class Chart(NamedTuple):
    """A chart: its file, from which results it comes, what its bars measure, and which they are.

    Attributes:
        results: What the name of the file has between its date and the version of torch.
        is_ratio: Whether a line is drawn at 1.
    """

    name: str
    results: str
    measure: str
    rows: Callable[[Any], Rows]
    is_ratio: bool = False


def _column(table: Mapping[str, Mapping[str, float]], column: str) -> Rows:
    return {name: {"": values[column]} for name, values in table.items()}


def _medians(table: Mapping[str, Sequence[float]], scale: float) -> Rows:
    return {name: {"": scale * statistics.median(values)} for name, values in table.items()}


def _short(name: str) -> str:
    for long, short in (("make_loader(randomness=", ""), (")", ""), ("an epoch: ", ""), (", cpu", "")):
        name = name.replace(long, short)
    return name


def _cells(tables: Mapping[str, Mapping[str, Mapping[str, Any]]], column: str, only: str = "") -> Rows:
    rows = {
        _short(row): {_short(bar): values[column] for bar, values in table.items() if values[column] is not None}
        for row, table in tables.items()
        if only in row
    }
    return {row: bars for row, bars in rows.items() if bars}


def _resuming(data: Any) -> Rows:
    table = data["loaders"]["milliseconds_to_the_first_batch"]
    return {_short(row): {f"{float(at):.0%}": took for at, took in of["median"].items()} for row, of in table.items()}


def _memory(data: Any) -> Rows:
    table = data["loaders"]["kib_of_the_main_process"]
    return {
        _short(row): {"peak over before": (values["peak"] - values["before"]) / 1024} for row, values in table.items()
    }


def _first_batches(data: Any) -> Rows:
    return {
        _short(name): {f"{int(length):,}": row["first ms"] for length, row in lengths.items()}
        for name, lengths in data["orders"].items()
    }


def _resumed(data: Any) -> Rows:
    ours = data["checkpoints"]["resuming"]["milliseconds"]
    return {
        "Checkpoint and make_loader": {at: ours[at] for at in ("10%", "90%")},
        "Accelerate, skip_first_batches": {at: ours[f"{at}, Accelerate"] for at in ("10%", "90%")},
    }


def _sources(data: Any) -> Rows:
    rows = _column(data["microseconds"]["sources"], "median")
    return {name: bars for name, bars in rows.items() if name != "naive"}


def _world_sizes(data: Any) -> Rows:
    return {
        f"{model}, {ranks} ranks": {way: row["ratio"] for way, row in ways.items() if row["ratio"] != 1}
        for ranks, found in data["world_sizes"].items()
        for model, ways in found["steps"].items()
    }


CHARTS = (
    Chart("entering", "cpu", "x naive", lambda d: _column(d["microseconds"]["entering"], "ratio"), True),
    Chart("libraries", "cpu", "x naive", lambda d: _column(d["microseconds"]["beside"], "ratio"), True),
    Chart("sources", "cpu", "microseconds", _sources),
    Chart("once", "cpu", "milliseconds", lambda d: _medians(d["seconds_once"], 1000)),
    Chart(
        "loaders",
        "loaders-cpu",
        "x a plain DataLoader",
        lambda d: _cells(d["loaders"]["milliseconds_an_epoch"], "ratio"),
        True,
    ),
    Chart(
        "loaders_processor_time",
        "loaders-cpu",
        "x a plain DataLoader, processor time",
        lambda d: _cells(d["loaders"]["milliseconds_an_epoch"], "cpu_ratio", " 0 workers"),
        True,
    ),
    Chart(
        "held",
        "held-cpu",
        "microseconds at best",
        lambda d: _column(d["microseconds_a_held_generator"], "best"),
    ),
    Chart("resuming", "loaders-cpu", "milliseconds to the first batch", _resuming),
    Chart("memory", "loaders-cpu", "MiB", _memory),
    Chart("orders", "orders-cpu", "milliseconds to the first batch", _first_batches),
    Chart("traces", "traces-cpu", "x a plain step", lambda d: _cells(d["traces"]["steps"], "ratio"), True),
    Chart("trace_bytes", "traces-cpu", "bytes a step", lambda d: _cells(d["traces"]["steps"], "bytes_a_step")),
    Chart(
        "fingerprints", "traces-cpu", "x memcpy", lambda d: _cells(d["traces"]["fingerprints"], "times_memcpy"), True
    ),
    Chart("checkpoints", "checkpoints-cpu", "milliseconds to the first batch", _resumed),
    Chart(
        "command_line",
        "command-line-cpu",
        "milliseconds",
        lambda d: _medians(d["command_line"]["seconds_of_an_empty_script"], 1000),
    ),
    Chart(
        "manifests",
        "manifests-cpu",
        "milliseconds",
        lambda d: _medians({**d["manifests"]["calls"], **d["manifests"]["commands"]}, 1000),
    ),
    Chart("world_sizes", "world-sizes-cpu", "x DistributedDataParallel", _world_sizes, True),
    Chart("portable", "command-line-cpu", "x without", lambda d: d["command_line"]["portable"], True),
)


def newest(results: str, folder: Path = RESULTS) -> Any:
    """Return the newest results of a kind."""
    *_, path = sorted(folder.glob(f"????-??-??-{results}-torch-*.json"))
    return json.loads(path.read_text(encoding="utf-8"))


def digest(rows: Rows) -> str:
    """Return what a chart is marked with, so that one of older results is seen to be stale."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def draw(rows: Rows, measure: str, *, is_ratio: bool) -> Figure:
    """Draw a bar for each number, in groups, with the number beside it."""
    names = [*dict.fromkeys(bar for bars in rows.values() for bar in bars)]
    height = 0.8 / len(names)
    size = 0.5 + sum(0.12 + 0.17 * len(names) for _ in rows) + 0.2 * (len(names) > 1)
    figure = Figure(figsize=(7.8, size), layout="constrained", facecolor="white")
    axes = figure.subplots()
    longest = max(number for bars in rows.values() for number in bars.values())
    for index, name in enumerate(names):
        numbers = [bars.get(name, math.nan) for bars in rows.values()]
        at = np.arange(len(rows)) + (index - (len(names) - 1) / 2) * height
        colour = _COLOURS[index % len(_COLOURS)]
        drawn = axes.barh(at, numbers, height=0.9 * height, color=colour, label=name or None)
        texts = ["" if math.isnan(number) else f"{number:,.{_places(number)}f}" for number in numbers]
        axes.bar_label(drawn, texts, padding=3, fontsize=7, color=_INK)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8, color=_INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * longest)
    axes.set_xlabel(measure, fontsize=8, color=_INK)
    if is_ratio:
        axes.axvline(1, color=_INK, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=_MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) > 1:
        figure.legend(loc="outside upper right", ncols=min(5, len(names)), frameon=False, fontsize=8, labelcolor=_INK)
    return figure


def _places(number: float) -> int:
    return 0 if number >= 100 else 1 if number >= 10 else 2


def main(arguments: Sequence[str]) -> None:
    """Write the charts into a folder."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "deterministic"}):
        for chart in CHARTS:
            rows = chart.rows(newest(chart.results))
            figure = draw(rows, chart.measure, is_ratio=chart.is_ratio)
            figure.savefig(folder / f"benchmark_{chart.name}.svg", metadata={"Date": None, "Description": digest(rows)})


if __name__ == "__main__":
    main(sys.argv[1:])
