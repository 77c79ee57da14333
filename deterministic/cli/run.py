"""Run a script, seeded and deterministic from before Python starts, and otherwise exactly as python runs it.

It is started once more with the variables that are read when Python starts (PYTHONHASHSEED,
CUBLAS_WORKSPACE_CONFIG); one that you have set already stays, and a line says so. reproducible() without a seed in the
script takes this seed, and a seed that the script gives wins; --deterministic holds outside of such blocks, each of
which has its own level. The output is the script's own, and notices go to stderr. Exits as the script does; with 2 if
nothing could be run. With --seeds it runs once for each, in processes of their own, and exits with 0 if all of them do.
"""

from __future__ import annotations

import argparse
import atexit
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from ..errors import DeterministicError, explain
from ..ground.config import LEVEL_NAMES
from ..ground.launch import Launch, default_seed
from ..ground.seeds import validate_seed
from ..scope.refusals import explain_refusal
from ..verification.scripts import NotRunnableError, leave_launcher_out, show
from . import _environment
from ._script import UsageError, add_script, add_seed_and_level, seeds_option, task_of
from ._verb import FAILED, OK, refuse

if TYPE_CHECKING:
    from ..verification.scripts import ScriptTask

HELP = "run a script, seeded and deterministic from before Python starts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic run`."""
    add_seed_and_level(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML or JSON with seed, deterministic, deterministic_cudnn; what it leaves out is off; options here win",
    )
    parser.add_argument("--num-threads", type=_count, metavar="N", help="threads for one CPU operation")
    parser.add_argument(
        "--portable",
        action="store_true",
        help="one thread (or --num-threads), AVX2, compatible MKL: most of what makes the bits of CPUs differ; slower",
    )
    parser.add_argument(
        "--seeds",
        type=seeds_option,
        metavar="SEEDS",
        help="one run for each: 42,123,456, or 42:5 for five derived from 42",
    )
    parser.add_argument("--jobs", type=_count, metavar="N", help="with --seeds: how many at a time (default: 1)")
    parser.add_argument("--seeds-file", help=argparse.SUPPRESS)  # from --seeds to its runs
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices, and no table")
    add_script(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run a script, once or for several seeds.

    Args:
        arguments: What `add_arguments` declares.

    Returns:
        The script's exit status; 2 if nothing was run.

    Raises:
        SystemExit: The script's own.
    """
    try:
        task, launch = task_of(arguments), _launch_of(arguments)
        plan = _environment.plan(launch, portable=arguments.portable)
    except (DeterministicError, UsageError) as error:
        return refuse(_in_a_line(str(error)))
    if arguments.seeds is not None:
        from ._ensemble import run_ensemble

        if not arguments.quiet:
            _tell(plan, arguments)
        return run_ensemble(arguments)
    if plan.missing and not plan.was_tried and plan.launch != Launch():
        _environment.start_again(plan.missing, arguments.argv, in_place=arguments.is_own_process)
    is_heard = not arguments.quiet and os.environ.get("LOCAL_RANK", "0") == "0"
    if is_heard:
        _tell(plan, arguments)
    if plan.launch != Launch():
        from ._process import control

        asked = f"--seed {launch.seed}" if arguments.seed is not None else arguments.config
        control(plan.launch, asked=asked if is_heard and asked and launch.seed is not None else "")
    return _perform(task)


def _launch_of(arguments: argparse.Namespace) -> Launch:
    """Return what was asked for: by the command line, else by the file, else by default.

    Raises:
        UsageError: Options that do not go together, or a file that cannot be used.
    """
    if arguments.seeds is not None and arguments.seed is not None:
        raise UsageError("--seed and --seeds: give one of them")
    if arguments.jobs is not None and arguments.seeds is None:
        raise UsageError("--jobs needs --seeds: one run is one job")
    asked: dict[str, Any] = {}
    if arguments.seed is not None or arguments.seeds:
        asked["seed"] = arguments.seed if arguments.seeds is None else arguments.seeds[0]
    if arguments.deterministic is not None:
        asked["deterministic"] = LEVEL_NAMES[arguments.deterministic]
    if arguments.config is None:
        asked = {"seed": default_seed(), "deterministic": True, **asked}
    else:
        asked = _with_file(arguments.config, asked)
    num_threads = arguments.num_threads
    if num_threads is None and arguments.portable:
        num_threads = 1
    return Launch(asked["seed"], asked["deterministic"], num_threads, seeds_file=arguments.seeds_file)


def _with_file(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    from ..scope.from_config import options_from

    if not os.path.exists(path):
        raise UsageError(
            explain("there is no such configuration file", (f"found: {os.path.abspath(path)}",), "Give its path.")
        )
    try:
        options = options_from(path, asked)
        if options["seed"] is not None:
            options["seed"] = validate_seed(options["seed"])
        return options
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def _perform(task: ScriptTask) -> int:
    """Run it, and end as Python would have ended: what it raises is shown from its first line on."""
    interrupted: list[bool] = []
    # Registered first, so called last: after threads have ended and everything else has been cleaned up.
    atexit.register(_end_by_interrupt, interrupted)
    leave_launcher_out()
    _environment.begin_script()
    try:
        task.run()
    except SystemExit:
        raise
    except NotRunnableError as error:
        return refuse(f"deterministic run: {error}")
    except BaseException as error:  # noqa: BLE001 - shown as Python shows what a script raises
        explain_refusal(error, "To go on with a warning: deterministic run --deterministic warn ...")
        show(error)
        if type(error) is KeyboardInterrupt:  # Python does not count those that derive from it
            interrupted.append(True)
        return FAILED
    return OK


def _end_by_interrupt(interrupted: list[bool]) -> None:
    """End by the signal itself, as Python does: a shell that waits for us then knows to stop, too."""
    if interrupted:
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _tell(plan: _environment.StartPlan, arguments: argparse.Namespace) -> None:
    """Say on stderr what is in effect, and what is not as it was asked for."""
    launch = plan.launch
    if launch == Launch():
        told = f"{arguments.config} has neither seed nor deterministic at its top level: as python runs it"
    else:
        seed = "no seed" if launch.seed is None else f"seed {launch.seed}"
        if arguments.seeds is not None:
            seed = f"seeds {', '.join(map(str, arguments.seeds))}"
        told = f"{seed}, deterministic={launch.deterministic!r}"
    for line in (told, *_environment.notes(plan, portable=arguments.portable)):
        sys.stderr.write(f"deterministic run: {line}\n")
    sys.stderr.flush()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 1 or more")
    return int(text)


def _in_a_line(error: str) -> str:
    """Return the lines of an error as one: what differs (the values). What to do."""
    what, *values = (line.strip() for line in error.splitlines())
    if not values:
        return f"deterministic run: {what}"
    *found, remedy = values
    return f"deterministic run: {what} ({'; '.join(found)}). {remedy}"
