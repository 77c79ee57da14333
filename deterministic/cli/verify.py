"""Run a script several times, each in a fresh interpreter, and find the first bit that differs, and why.

The script stays as it is. It runs under `reproducible()`, seeded and with deterministic algorithms; with --as-is it
runs as it does without this command. Exits with 0 if the runs are bit-exact, with 1 if they differ, and with 2 if that
could not be told: the script failed or was ended, there was nothing to compare, or its bits are the same but what it
printed is not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..verification.ranks import verifying_ranks
from . import _options as options
from ._look import annotation, write_report

if TYPE_CHECKING:
    from ..verification.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic verify`."""
    parser.add_argument("--runs", type=options.at_least(2), metavar="N", help="how many times to run it (default: 3)")
    parser.add_argument(
        "--world-sizes",
        type=options.sizes_option,
        metavar="N,N",
        help="instead, run it under torchrun on so many ranks each (1,2,4), and compare the weights after each step",
    )
    parser.add_argument(
        "--stress",
        action="store_true",
        help="vary things that must not change the result: hash seed, threads, memory, workers, garbage collection",
    )
    options.add_control(parser)
    parser.add_argument(
        "--jobs",
        type=int,
        choices=(1, 2),
        help="2: start the next run's interpreter while one is under way (default: where there is memory); 1: after it",
    )
    parser.add_argument("--timeout", type=options.seconds_option, metavar="S", help="end a run after S seconds")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as JSON")
    form.add_argument("--format", choices=["text", "github"], help="github: annotate the line, for GitHub Actions")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as HTML")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the runs' curves (needs the extra `plot`)")
    parser.add_argument(
        "--keep-traces", type=Path, metavar="DIR", help="leave the traces and the output of each run there"
    )
    parser.add_argument("--show-output", action="store_true", help="let through to stderr what the script prints")
    parser.add_argument("--ignore-output", action="store_true", help="do not compare what the script prints")
    options.add_script(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify a script, progress on stderr, the report on stdout: 0 bit-exact, 1 different, 2 could not tell."""
    task, control = options.task_of(arguments), options.control_of(arguments)
    if arguments.html is not None:
        options.require_writable(arguments.html)
    if arguments.plot is not None:
        options.require_drawable(arguments.plot, "--plot")
    if arguments.keep_traces is not None:
        options.require_writable(arguments.keep_traces / "run1.trace")
    if arguments.world_sizes is not None:
        _require_only_sizes(arguments)
    options.tell_misplaced(arguments)

    from ..verification.isolated import IsolatedRuns
    from ..verification.processes import RunFailedError
    from ..verification.progress import progress
    from ..verification.report import Report
    from ..verification.verification import Verification

    runs, sizes = arguments.runs or 3, arguments.world_sizes
    how = {name: getattr(arguments, name) for name in ("stress", "timeout", "show_output", "jobs")}
    with IsolatedRuns(task, **how) as isolated, _folder(arguments.keep_traces) as folder:
        try:
            with progress(len(sizes or range(runs)), plain=arguments.show_output) as tell:
                if sizes is not None:
                    from ..verification.world_sizes import WorldSizes

                    verification: Any = WorldSizes(task, sizes, folder, control, arguments.timeout, tell)
                else:
                    verification = Verification(task.title, isolated, runs, folder, control, tell)
                    verification.compares_output = not (arguments.show_output or arguments.ignore_output)
                report: Report = verification.report()
        except RunFailedError as error:
            reasons = [line.removeprefix("  ") for line in str(error).splitlines()]
            report = Report(task.title, "could not tell", 0, 0, [], None, reasons, [])
        write_report(report, as_json=arguments.json)
        if arguments.format == "github":
            sys.stdout.write(annotation(report))
        with options.written("report"):
            _write_files(report, arguments)
    return report.exit_code


def _require_only_sizes(arguments: argparse.Namespace) -> None:
    """Refuse what is about several runs on one number of ranks, and systems without sessions of processes."""
    names = ("runs", "stress", "plot", "keep_traces", "show_output", "ignore_output", "jobs")
    found = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) not in (None, False)]
    if found:
        raise options.UsageError(
            "--world-sizes runs it once on each number of ranks, and compares neither traces nor what is printed",
            f"found: --world-sizes, {', '.join(found)}",
            "Leave one of them out.",
        )
    if os.name != "posix":
        raise options.UsageError("--world-sizes needs POSIX", f"found: {sys.platform}", "Run it on Linux or macOS.")


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        rank, size = verifying_ranks()
        if size > 1:
            keep /= f"rank{rank}"
            keep.mkdir(exist_ok=True)
        yield keep
        sys.stderr.write(f"the traces are in {keep}\n")
        return
    with tempfile.TemporaryDirectory(prefix="deterministic-") as folder:
        yield Path(folder)


def _write_files(report: Report, arguments: argparse.Namespace) -> None:
    if arguments.html is not None:
        page = f"<!doctype html>\n<meta charset='utf-8'>\n<title>deterministic verify</title>\n{report._repr_html_()}\n"
        arguments.html.write_text(page, encoding="utf-8")
        sys.stderr.write(f"the report is in {arguments.html}\n")
    if arguments.plot is not None:
        report.plot(arguments.plot)
        sys.stderr.write(f"the curves are in {arguments.plot}\n")
