"""What the demo shows: progress while it runs, then tables or JSON."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .digits import HELD_OUT, TRAINED_ON
from .verdict import Check, Run


@contextmanager
def progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """Show a bar on stderr.

    Args:
        total: How many steps there are.

    Yields:
        A function that names what is being done, and one that counts a step.
    """
    # Redrawn from here, not by rich's thread: the loader forks its workers, and what a thread locks stays locked there.
    bar = Progress(
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
    )
    with bar:
        task = bar.add_task("", total=total)

        def name(what: str) -> None:
            bar.update(task, description=what, refresh=True)

        def step() -> None:
            bar.update(task, advance=1, refresh=True)

        yield name, step
        bar.update(task, description="trained")


def as_json(runs: Sequence[Run], checks: Sequence[Check], *, epochs: int, seconds: float) -> dict[str, Any]:
    """Return all that was found as JSON, with the versions that it was found with."""
    return {
        "verdict": "PASS" if all(check.holds for check in checks) else "FAIL",
        "checks": [{"claim": check.claim, "holds": check.holds, "found": check.found} for check in checks],
        "runs": [
            {
                "label": run.label,
                "seed": run.seed,
                "final_loss": run.outcome.losses[-1].hex(),
                "losses": list(run.outcome.losses),
                "accuracy": run.outcome.accuracy,
                "weights": run.outcome.weights,
                "state_before": _digest(run.before),
                "state_after": _digest(run.after),
                "state_changed": list(run.changed),
            }
            for run in runs
        ],
        "epochs": epochs,
        "seconds": round(seconds, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def show(runs: Sequence[Run], checks: Sequence[Check], *, epochs: int, seconds: float) -> None:
    """Print the tables and the verdict on stdout."""
    console = Console(highlight=False)
    length = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    console.print(f"A conv net, {length} on {TRAINED_ON:,} scanned digits, judged on {HELD_OUT} others", style="bold")
    console.print(_outcomes(runs))
    console.print("Generators and settings of this process around each controlled run", style="bold")
    console.print(_kept([run for run in runs if run.seed is not None]))
    console.print("[bold green]PASS[/]" if all(check.holds for check in checks) else "[bold red]FAIL[/]")
    for check in checks:
        console.print(f"  [green]yes[/]  {check.claim}" if check.holds else f"  [red]NO[/]   {check.claim}")
        if check.found:
            console.print(f"       found: {check.found}", markup=False)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    console.print(f"{len(runs)} runs in {seconds:.0f} s; {versions}")


def _outcomes(runs: Sequence[Run]) -> Table:
    table = Table(box=box.ROUNDED, header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("seed", no_wrap=True, justify="right")
    table.add_column("final loss", no_wrap=True)
    table.add_column("accuracy", no_wrap=True, justify="right")
    table.add_column("weights", no_wrap=True)
    digests = [run.outcome.weights for run in runs]
    for run, following in zip(runs, [*runs[1:], None], strict=True):
        # Bits that occur more than once stand out.
        style = "green" if digests.count(run.outcome.weights) > 1 else "yellow"
        table.add_row(
            run.label,
            "-" if run.seed is None else str(run.seed),
            run.outcome.losses[-1].hex(),
            f"{run.outcome.accuracy:.1%}",
            f"[{style}]{run.outcome.weights}[/]",
            end_section=following is not None and following.seed != run.seed,
        )
    return table


def _kept(runs: Sequence[Run]) -> Table:
    table = Table(box=box.ROUNDED, header_style="bold")
    for name in ("run", "before", "after", "equal"):
        table.add_column(name, no_wrap=True)
    for run in runs:
        equal = "[red]NO[/]" if run.changed else "[green]yes[/]"
        table.add_row(run.label, _digest(run.before), _digest(run.after), equal)
    return table


def _digest(states: Mapping[str, str]) -> str:
    return hashlib.blake2b(repr(sorted(states.items())).encode(), digest_size=8).hexdigest()
