"""Train a small net on real scans, with and without control, and compare the bits.

Three uncontrolled runs, three with one seed, one in a decorated function and one with another seed, each through a
loader with two workers. Exits with 0 if what should be the same is the same to the bit, what should differ differs, and
every controlled run left the process as it found it; with 1 if not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ..errors import explain
from ._verb import FAILED, OK, missing_extra, refuse

HELP = "train on scikit-learn's digits, and show which runs have the same bits"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic demo`."""
    parser.add_argument("--epochs", type=_positive, default=10, metavar="N", help="epochs of each run (default: 10)")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the loss curves (needs the extra `plot`)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo: progress on stderr, what was found on stdout.

    Args:
        arguments: What `add_arguments` declares.

    Returns:
        0 PASS, 1 FAIL, 2 if it could not be run.
    """
    refusal = missing_extra("deterministic demo", "demo", {"sklearn": "scikit-learn", "rich": "rich"})
    if refusal is None and arguments.plot is not None:
        refusal = _unplottable(arguments.plot)
    if refusal is not None:
        return refuse(refusal)

    from ._demo import output, runs
    from ._demo.verdict import judge

    started = time.monotonic()
    with output.progress(runs.COUNT * arguments.epochs) as (on_start, on_epoch):
        trained = runs.perform(arguments.epochs, on_start, on_epoch)
    checks = judge(trained)
    seconds = time.monotonic() - started
    if arguments.json:
        found = output.as_json(trained, checks, epochs=arguments.epochs, seconds=seconds)
        sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    else:
        output.show(trained, checks, epochs=arguments.epochs, seconds=seconds)
    if arguments.plot is not None:
        from ._demo import plot

        try:
            plot.draw(trained, arguments.plot)
        except OSError as error:
            return refuse(
                explain("the picture could not be written", (f"found: {error}",), "Name a file that can be written.")
            )
        sys.stderr.write(f"the curves are in {arguments.plot}\n")
    return OK if all(check.holds for check in checks) else FAILED


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 1 or more")
    return int(text)


def _unplottable(path: Path) -> str | None:
    """Say why the picture could not be written, before time is spent on what it would show."""
    if path.suffix.lower() != ".png":
        return explain("the picture is a PNG", (f"found: {path}",), "Give a name that ends in .png.")
    if not path.parent.is_dir():
        return explain("there is no such directory", (f"found: {path.parent}",), "Make it, or name another file.")
    return missing_extra("deterministic demo --plot", "plot", {"matplotlib": "matplotlib"})
