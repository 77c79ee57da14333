"""Train a small net on real scans, with and without control, and compare the bits.

Three uncontrolled runs, three with one seed, one in a decorated function and one with another seed, each through a
loader with two workers. Exits with 0 if what should be the same is the same to the bit, what should differ differs, and
every controlled run left the process as it found it; with 1 if not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from ..data.loader import make_loader
from ..ground.seeds import derive_seed
from ..scope.reproducible import reproducible
from ..sources.registry import describe
from ..verification.progress import progress
from ._options import FAILED, OK, at_least, require_drawable, require_extra, written

SEED, OTHER_SEED = 42, 7
TRAINED_ON, HELD_OUT = 1437, 360


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic demo`."""
    parser.add_argument("--epochs", type=at_least(1), default=10, metavar="N", help="epochs of each run (default: 10)")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the losses (needs the extra `plot`)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo: progress on stderr, what was found on stdout; 0 PASS, 1 FAIL, 2 if it could not be run."""
    require_extra("the demo", "demo", {"sklearn": "scikit-learn", "rich": "rich"})
    if arguments.plot is not None:
        require_drawable(arguments.plot, "--plot")
    with progress(8) as tell:
        runs = perform(arguments.epochs, tell)
    claims = judge(runs)
    if arguments.json:
        data = {
            "verdict": _verdict(claims),
            "checks": [claim._asdict() for claim in claims],
            "runs": [
                {"label": run.label, "seed": run.seed, **run.outcome._asdict(), "state_changed": run.changed}
                for run in runs
            ],
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        }
        sys.stdout.write(f"{json.dumps(data, indent=2)}\n")
    else:
        show(runs, claims)
    if arguments.plot is not None:
        with written("picture"):
            plot(runs, arguments.plot)
        sys.stderr.write(f"the picture is in {arguments.plot}\n")
    return OK if _verdict(claims) == "PASS" else FAILED


class Digits(Dataset[tuple[Tensor, Tensor]]):
    """Scanned digits, shifted, erased in one spot and noisy, anew in each reading; `split` draws which are held out."""

    def __init__(self, split: torch.Generator) -> None:
        from sklearn.datasets import load_digits

        raw = load_digits()
        order = torch.randperm(TRAINED_ON + HELD_OUT, generator=split)
        images = torch.from_numpy(raw.images.astype(np.float32) / 16.0).unsqueeze(1)[order]
        labels = torch.from_numpy(raw.target.astype(np.int64))[order]
        self.held_out_images, self.images = images.split((HELD_OUT, TRAINED_ON))
        self.held_out_labels, self.labels = labels.split((HELD_OUT, TRAINED_ON))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index].roll((random.randint(-1, 1), random.randint(-1, 1)), (1, 2))
        row, column = torch.randint(0, 7, (2,)).tolist()
        image[:, row : row + 2, column : column + 2] = 0.0
        return image + torch.from_numpy(np.random.normal(0.0, 0.05, (1, 8, 8)).astype(np.float32)), self.labels[index]

    def judge(self, model: nn.Module) -> tuple[float, float]:
        """Return the mean cross-entropy on the held-out scans in nats, and the part of them that is recognised."""
        model.eval()
        with torch.no_grad():
            scores = model(self.held_out_images).double()
        right = (scores.argmax(1) == self.held_out_labels).double().mean()
        return cross_entropy(scores, self.held_out_labels).item(), right.item()


class Training(NamedTuple):
    """What a training came to: the losses before it and after each epoch, the accuracy, a digest of the weights."""

    losses: tuple[float, ...]
    accuracy: float
    weights: str


def train(make_loader: Callable[..., Any], digits: Digits, epochs: int, on_epoch: Callable[[int], object]) -> Training:
    """Train a small conv net, drawing as training code often does: seeding nothing, from every global generator.

    Here it draws weights, order, brightness and dropout; in two workers, which have ended then, the augmentation.
    `make_loader` is `torch.utils.data.DataLoader` or our own: the two are called alike.
    """
    loader = make_loader(digits, batch_size=64, shuffle=True, num_workers=2, persistent_workers=True)
    convolutions = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
    head = nn.Dropout(0.25), nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.25), nn.Linear(64, 10)
    model = nn.Sequential(*convolutions, nn.MaxPool2d(2), nn.Flatten(), *head)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = [digits.judge(model)[0]]
    for epoch in range(1, epochs + 1):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            bright = images * random.uniform(0.9, 1.1) * float(np.random.normal(1.0, 0.05))
            cross_entropy(model(bright), labels).backward()
            optimizer.step()
        losses.append(digits.judge(model)[0])
        on_epoch(epoch)
    weights = b"".join(name.encode() + value.numpy().tobytes() for name, value in model.state_dict().items())
    return Training(tuple(losses), digits.judge(model)[1], hashlib.blake2b(weights, digest_size=8).hexdigest())


class DemoRun(NamedTuple):
    """One run, its seed (None: not controlled), and digests of every generator and setting before and after it."""

    label: str
    seed: int | None
    outcome: Training
    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def changed(self) -> list[str]:
        """What is not as it was before the run."""
        return sorted({name for name, _ in self.before.items() ^ self.after.items()})


def perform(epochs: int, tell: Callable[[str, int], object]) -> list[DemoRun]:
    """Train eight times, the controlled runs between others, so that each begins with the generators elsewhere."""
    digits = Digits(torch.Generator().manual_seed(derive_seed(SEED, "demo", "held-out")))
    runs: list[DemoRun] = []

    def trained(make: Callable[..., Any]) -> Training:
        return train(make, digits, epochs, lambda epoch: tell(f"run {len(runs) + 1} of 8", epoch))

    def controlled(seed: int) -> Training:
        with reproducible(seed=seed, deterministic=True):
            return trained(make_loader)

    def add(label: str, seed: int | None, body: Callable[[], Training]) -> None:
        before = states()
        runs.append(DemoRun(label, seed, body(), before, states()))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # leaves the cores to the workers, and their number then does not change the bits
    try:
        for number in (1, 2, 3):
            add(f"uncontrolled {number}", None, lambda: trained(DataLoader))
            add(f"reproducible {number}", SEED, lambda: controlled(SEED))
        add("decorated", SEED, reproducible(seed=SEED)(lambda: trained(make_loader)))
        add("another seed", OTHER_SEED, lambda: controlled(OTHER_SEED))
    finally:
        torch.set_num_threads(threads)
    return sorted(runs, key=lambda run: (run.seed is not None, run.seed != SEED))


def states() -> dict[str, str]:
    """Return a digest of every generator and setting: the library's own account, and three witnesses of it."""
    kind, words, *rest = np.random.get_state(legacy=True)
    encoded = {name: json.dumps(value, sort_keys=True).encode() for name, value in describe().items()}
    encoded["random.getstate()"] = repr(random.getstate()).encode()
    encoded["numpy.random.get_state()"] = repr((kind, rest)).encode() + np.asarray(words).tobytes()
    encoded["torch.get_rng_state()"] = torch.get_rng_state().numpy().tobytes()
    return {name: hashlib.blake2b(value, digest_size=8).hexdigest() for name, value in encoded.items()}


class Claim(NamedTuple):
    """What the demo claims, whether it holds, and what was found instead if it does not."""

    claim: str
    holds: bool
    found: str


def judge(runs: Sequence[DemoRun]) -> list[Claim]:
    """Hold the runs against what the demo claims; too few runs bear nothing out."""
    free, same, other = ([run for run in runs if run.seed == seed] for seed in (None, SEED, OTHER_SEED))
    of_free, of_same, of_other = ({run.outcome.weights for run in some} for some in (free, same, other))
    leaks = [f"{run.label} changed {', '.join(run.changed)}" for run in (*same, *other) if run.changed]
    # Equal weights can hide a different path to them, so the losses count, too.
    is_same = len(same) > 1 and len({run.outcome for run in same}) == 1
    is_kept = bool(same or other) and not leaks
    claims = {
        f"the {len(same)} runs with seed {SEED} have the same bits": (is_same, _bits(same)),
        f"the run with seed {OTHER_SEED} has other bits": (bool(other) and not of_other & of_same, _bits(other)),
        f"the {len(free)} uncontrolled runs all differ": (1 < len(free) == len(of_free), _bits(free)),
        "every controlled run left the generators and settings as it found them": (is_kept, "; ".join(leaks)),
    }
    return [Claim(claim, holds, "" if holds else found or "no run") for claim, (holds, found) in claims.items()]


def _bits(runs: Sequence[DemoRun]) -> str:
    return ", ".join(f"{run.label}: {run.outcome.weights} {run.outcome.losses[-1].hex()}" for run in runs)


def show(runs: Sequence[DemoRun], claims: Sequence[Claim]) -> None:
    """Print the table and the verdict on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "seed", "final loss", "accuracy", "weights", box=box.ROUNDED)
    for run in runs:
        (*_, loss), accuracy, weights = run.outcome
        table.add_row(run.label, "-" if run.seed is None else str(run.seed), loss.hex(), f"{accuracy:.1%}", weights)
    console = Console(highlight=False, markup=False)
    console.print(f"A conv net, trained on {TRAINED_ON:,} scanned digits and judged on {HELD_OUT} others", style="bold")
    console.print(table, _verdict(claims))
    for claim in claims:
        console.print(f"  yes  {claim.claim}" if claim.holds else f"  NO   {claim.claim}\n       found: {claim.found}")


def _verdict(claims: Sequence[Claim]) -> str:
    return "PASS" if all(claim.holds for claim in claims) else "FAIL"


def plot(runs: Sequence[DemoRun], path: Path) -> None:
    """Draw the losses of three runs without control, and beside them those of three with it."""
    from ..verification.plot import draw_beside

    free, same = ([run.outcome.losses for run in runs if run.seed == seed][:3] for seed in (None, SEED))
    draw_beside({"plain PyTorch": free, f"reproducible(seed={SEED})": same}, "held-out loss").savefig(
        path, format="png"
    )
