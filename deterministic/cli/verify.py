"""Run a script several times, each in a fresh interpreter, and find the first bit that differs, and why.

The script stays as it is. It runs under `reproducible()`, seeded and with deterministic algorithms; with --as-is it
runs as it does without this command. Exits with 0 if the runs are bit-exact, with 1 if they differ, and with 2 if that
could not be told: the script failed, it was ended, nothing was there to compare, or its bits are the same and what it
printed is not.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import explain
from ._files import undrawable, unwritable
from ._look import write_verdict
from ._script import UsageError, add_control, add_script, control_of, positive_seconds, task_of
from ._verb import refuse

if TYPE_CHECKING:
    from ..verification.report import Report
    from ..verification.runs import Control
    from ..verification.scripts import ScriptTask

HELP = "run a script several times, and say whether it is bit-exact, or where it first differs and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic verify`."""
    parser.add_argument("--runs", type=_at_least_two, default=3, metavar="N", help="how often to run it (default: 3)")
    parser.add_argument(
        "--stress",
        action="store_true",
        help="vary what must not matter: hash seed, threads, memory, workers, collection",
    )
    add_control(parser)
    parser.add_argument("--timeout", type=positive_seconds, metavar="S", help="end a run after so many seconds")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as HTML")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the runs' curves (needs the extra `plot`)")
    parser.add_argument(
        "--keep-traces", type=Path, metavar="DIR", help="leave the traces and the output of each run there"
    )
    parser.add_argument("--show-output", action="store_true", help="let what the script prints through, to stderr")
    parser.add_argument("--ignore-output", action="store_true", help="do not compare what the script prints: times")
    add_script(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify a script: progress on stderr, the report on stdout.

    Args:
        arguments: What `add_arguments` declares.

    Returns:
        0 bit-exact, 1 different, 2 could not tell.
    """
    try:
        task, control = task_of(arguments), control_of(arguments)
    except UsageError as error:
        return refuse(str(error))
    refusal = _refusal(arguments)
    if refusal is not None:
        return refuse(refusal)
    with _folder(arguments.keep_traces) as folder:
        report = _verify(task, control, folder, arguments)
        if arguments.json:
            sys.stdout.write(f"{report.to_json(indent=2)}\n")
        else:
            write_verdict(str(report), report.exit_code, sys.stdout)
        try:
            _write(report, arguments)
        except OSError as error:
            return refuse(
                explain("the report could not be written", (f"found: {error}",), "Name a file that can be written.")
            )
    return report.exit_code


def _verify(task: ScriptTask, control: Control, folder: Path, arguments: argparse.Namespace) -> Report:
    from ..verification.isolated import IsolatedRuns
    from ..verification.processes import RunFailedError
    from ..verification.report import Report
    from ..verification.verification import Verification
    from ._progress import progress

    run = IsolatedRuns(task, stress=arguments.stress, timeout=arguments.timeout, show_output=arguments.show_output)
    try:
        with progress(arguments.runs, plain=arguments.show_output) as tell:
            verification = Verification(task.title, run, arguments.runs, folder, control, tell)
            verification.compares_output = not (arguments.show_output or arguments.ignore_output)
            return verification.report()
    except RunFailedError as error:
        reasons = [line.removeprefix("  ") for line in str(error).splitlines()]
        return Report(task.title, "could not tell", 0, 0, [], None, reasons, [])


def _refusal(arguments: argparse.Namespace) -> str | None:
    if arguments.html is not None and (refusal := unwritable(arguments.html)):
        return refusal
    if arguments.plot is not None and (refusal := undrawable(arguments.plot, "deterministic verify --plot")):
        return refusal
    if arguments.keep_traces is not None:
        return unwritable(arguments.keep_traces / "run1.trace")
    return None


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        sys.stderr.write(f"the traces are in {keep}\n")
        return
    with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:
        yield Path(folder)


def _write(report: Report, arguments: argparse.Namespace) -> None:
    if arguments.html is not None:
        page = f"<!doctype html>\n<meta charset='utf-8'>\n<title>deterministic verify</title>\n{report._repr_html_()}\n"
        arguments.html.write_text(page, encoding="utf-8")
        sys.stderr.write(f"the report is in {arguments.html}\n")
    if arguments.plot is not None:
        report.plot(arguments.plot)
        sys.stderr.write(f"the curves are in {arguments.plot}\n")


def _at_least_two(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 2 or more")
    return int(text)
