"""Draw the pictures of docs/_static that no command draws: `python docs/generate_pictures.py [FOLDER]`.

Nothing in them is written by hand: the loaders have fetched these samples, and the scopes have set these values.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch.utils.data import Dataset, get_worker_info

from deterministic import describe, make_loader, reproducible, verify
from deterministic.data.samples.keys import epoch_key, sample_key

FOLDER = Path(__file__).with_name("_static")
SEED, EPOCH, BATCH = 42, 0, 2

INK, MUTED, LINE = "#1f2328", "#6e7781", "#c9cdd2"
YOURS, OUTER, INNER, THIRD = "#e6e8eb", "#c9dbe6", "#f6d9c2", "#dccfe6"


class Items(Dataset[tuple[int, float, int]]):
    """Items that draw a number each, and say in which worker: 0 is the process itself."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[int, float, int]:
        worker = get_worker_info()
        return index, torch.rand(()).item(), 0 if worker is None else worker.id + 1


def fetched(workers: int) -> list[tuple[int, float, int]]:
    """Return what a loader fetches in an epoch: of each sample its index, what it drew, and in which worker."""
    loader = make_loader(Items(), batch_size=BATCH, shuffle=True, seed=SEED, num_workers=workers)
    batches = [[part.tolist() for part in batch] for batch in loader]
    return [sample for batch in batches for sample in zip(*batch, strict=True)]


def draw_keys() -> Figure:
    """Draw that a sample's numbers come from seed, epoch and index, in whichever worker it is fetched."""
    rows = {workers: fetched(workers) for workers in (0, 1, 2)}
    figure, axes = _canvas(7.8, 4.6)
    key = epoch_key(SEED, EPOCH, "samples")
    text = f"a sample's key = mix(seed {SEED}, epoch {EPOCH}, its index): nothing else"
    axes.text(0, 0.2, text, fontsize=11, color=INK, va="center")
    for column, (index, _, _) in enumerate(rows[0]):
        hexadecimal = f"{sample_key(key, index):016x}"
        _box(axes, 1.75 + column, 0.9, f"index {index}\n{hexadecimal[:8]}...", "white")
    _name(axes, 0.9, "key")
    for row, (workers, samples) in enumerate(rows.items()):
        at = 2.1 + row
        _name(axes, at, f"num_workers={workers}\ndraws")
        for column, (_, number, worker) in enumerate(samples):
            _box(axes, 1.75 + column, at, f"{number:.6f}", (YOURS, OUTER, INNER)[worker])
    legend = {"fetched by the process": YOURS, "by worker 0": OUTER, "by worker 1": INNER}
    _legend(axes, 5.0, legend)
    axes.set(xlim=(-0.05, 7.3), ylim=(5.3, -0.1))
    return figure


EVENTS = (
    "before",
    "inside\nreproducible(1)",
    "inside that,\nreproducible(2,\n deterministic=False)",
    "inner one\nleft",
    "outer one\nleft",
)
SHOWN = (
    ("torch.deterministic_algorithms", "enabled"),
    ("torch.cudnn", "deterministic"),
    ("python.random", None),
    ("numpy.random", None),
    ("torch.cpu", None),
)


def draw_scopes() -> Figure:
    """Draw what two scopes, one in the other, set, and that each gives back what it found."""
    seen = [describe()]
    with reproducible(1):
        seen.append(describe())
        with reproducible(2, deterministic=False):
            seen.append(describe())
        seen.append(describe())
    seen.append(describe())
    figure, axes = _canvas(7.8, 4.2)
    for column, event in enumerate(EVENTS):
        axes.text(3.0 + 1.3 * column, 0.25, event, ha="center", va="center", fontsize=8.5, color=MUTED)
    for row, (source, name) in enumerate(SHOWN):
        _name(axes, 1.0 + 0.75 * row, source if name is None else f"{source}\n.{name}")
        colours: dict[str, str] = {}
        for column, values in enumerate(seen):
            shown = _shown(values[source], name)
            colour = colours.setdefault(shown, (YOURS, OUTER, INNER, THIRD)[len(colours)])
            _box(axes, 3.0 + 1.3 * column, 1.0 + 0.75 * row, shown, colour, width=1.15, height=0.55)
    axes.set(xlim=(-0.05, 8.9), ylim=(4.4, -0.1))
    return figure


def _shown(values: Mapping[str, Any], name: str | None) -> str:
    if name is not None:
        return str(values[name])
    return f"state {blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=3).hexdigest()}"


def train() -> None:
    """Train on data that is shuffled, from step 12 on, by a generator that nobody seeded."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    data = torch.randn(256, 8)
    order = np.random.default_rng()  # deterministic: ignore[DET101] the runs are to differ
    for step in range(30):
        rows = order.permutation(256) if step >= 12 else np.arange(256)
        batch = data[torch.from_numpy(rows[:64])]
        loss = (model(batch) - batch.sin().sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def draw_divergence() -> Figure:
    """Draw what `verify` draws of a training that is not reproducible."""
    return verify(train, runs=2).plot()


PICTURES = {"keys.svg": draw_keys, "scopes.svg": draw_scopes, "divergence.png": draw_divergence}


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set_axis_off()
    return figure, axes


def _box(axes: Axes, x: float, y: float, text: str, colour: str, *, width: float = 0.9, height: float = 0.6) -> None:
    corner = x - width / 2, y - height / 2
    style = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": colour, "edgecolor": LINE}
    axes.add_patch(FancyBboxPatch(corner, width, height, **style))
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color=INK)


def _name(axes: Axes, y: float, text: str) -> None:
    axes.text(0, y, text, va="center", fontsize=9, color=MUTED)


def _legend(axes: Axes, y: float, names: Mapping[str, str]) -> None:
    for index, (name, colour) in enumerate(names.items()):
        _box(axes, 1.5 + 2.1 * index, y, "", colour, width=0.3, height=0.25)
        axes.text(1.75 + 2.1 * index, y, name, va="center", fontsize=9, color=MUTED)


def main(arguments: Sequence[str]) -> None:
    """Write the pictures into a folder."""
    os.chdir(Path(__file__).parent)  # so that the lines that they name are short
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "deterministic", "svg.fonttype": "path"}):
        for name, draw in PICTURES.items():
            metadata = {"Date": None} if name.endswith(".svg") else None
            draw().savefig(folder / name, metadata=metadata)


if __name__ == "__main__":
    main(sys.argv[1:])
