"""Run a script, seeded and deterministic from before Python starts, and otherwise exactly as python runs it.

It is started once more with the variables that are read when Python starts (PYTHONHASHSEED,
CUBLAS_WORKSPACE_CONFIG); one that you have set already stays, and a line says so. reproducible() without a seed in the
script takes this seed, and a seed that the script gives wins; --deterministic holds outside of such blocks, each of
which has its own level. The output is the script's own, and notices go to stderr. Exits as the script does; with 2 if
nothing could be run. With --seeds it runs once for each, in processes of their own, and exits with 0 if all of them do.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in, so no signal.py beside a script is in its place
import atexit
import contextlib
import json
import os
import sys

from ..ground import launch as launching
from ..ground.launch import Launch, default_seed
from ..ground.levels import ENTROPY, LEVEL_NAMES
from ..verification.scripts import NotRunnableError, ScriptTask, leave_launcher_out, show
from . import _environment
from ._options import (
    FAILED,
    OK,
    UsageError,
    add_script,
    add_seed_and_level,
    at_least,
    seeds_option,
    task_of,
    tell_misplaced,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic run`."""
    add_seed_and_level(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML or JSON with seed, deterministic, deterministic_cudnn; what it leaves out is off; options here win",
    )
    parser.add_argument(
        "--entropy",
        choices=ENTROPY,
        metavar="MODE",
        help=f"numbers that no seed decides: {', '.join(ENTROPY)} (default: ignore)",
    )
    parser.add_argument("--num-threads", type=at_least(1), metavar="N", help="threads for one CPU operation")
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
    parser.add_argument("--jobs", type=at_least(1), metavar="N", help="with --seeds: how many at a time (default: 1)")
    # From --seeds to its runs. argparse hides what has its own SUPPRESS, not an equal text; a plain line has no help.
    parser.add_argument("--seeds-file", help=getattr(sys.modules.get("argparse"), "SUPPRESS", None))
    parser.add_argument("-q", "--quiet", action="store_true", help="no notices, and no table")
    add_script(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run a script, once or for several seeds, and return its exit status, 2 if nothing was run."""
    task, launch = task_of(arguments), _launch_of(arguments)
    plan = _environment.plan(launch, portable=arguments.portable)
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
        asked = f"--seed {launch.seed}" if arguments.seed is not None else arguments.config
        _control(plan.launch, asked=asked if is_heard and asked and launch.seed is not None else "")
    launching.is_quiet = arguments.quiet
    return _perform(task)


def _launch_of(arguments: argparse.Namespace) -> Launch:
    """Return what was asked for: by the command line, else by the file, else by default."""
    if arguments.seeds is not None and arguments.seed is not None:
        raise UsageError("--seed and --seeds: give one of them")
    if arguments.jobs is not None and arguments.seeds is None:
        raise UsageError("--jobs needs --seeds: one run is one job")
    asked: dict[str, Any] = {} if arguments.entropy is None else {"entropy": arguments.entropy}
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
    entropy = asked.get("entropy")
    if entropy == "seed" and asked["seed"] is None:
        raise UsageError("--entropy seed has no seed to begin with", "found: no seed", "Give one: --seed 42.")
    return Launch(asked["seed"], asked["deterministic"], num_threads, None, arguments.seeds_file, entropy)


def _with_file(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    from ..ground.seeds import validate_seed
    from ..scope.from_config import options_from

    if not os.path.exists(path):
        raise UsageError("there is no such configuration file", f"found: {os.path.abspath(path)}", "Give its path.")
    try:
        options = options_from(path, asked)
        if options["seed"] is not None:
            options["seed"] = validate_seed(options["seed"])
        return options
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def _control(launch: Launch, *, asked: str = "") -> None:
    """Seed the generators and set the flags of this process, for good: each library's when it is imported.

    A script that does not use torch does not wait for it, and one that sets variables before it imports torch still
    may. Nothing is given back, and no scope is open: the script's own scopes, threads and signals are as without us.
    `asked` is where the seed was given, to say at the end if the script never used it.
    """
    from ..ground.imports import once_imported, once_torch_imported

    if launch.entropy not in (None, "ignore"):
        _watch_entropy(launch.entropy, launch.seed)
    if launch.seed is not None:
        seed = launch.seed
        once_imported("random", lambda random: _seed_python(random, seed))
        once_imported("numpy.random", lambda numpy_random: _seed_numpy(numpy_random, seed))
    once_torch_imported(lambda sources: _apply(sources, launch))
    if launch.seeds_file is not None or asked:
        launching.seen = {}
        atexit.register(_at_end, launch, asked, os.getpid())


def _watch_entropy(mode: Any, seed: int | None) -> None:
    """Watch this process for good: each module when it has been imported, and torch with our sources."""
    from ..ground.imports import once_imported
    from ..ground.watching import Policy, put, reach
    from ..trace.recording.seeding import watch

    def reached(module: Any) -> None:
        reach(module.__name__)
        watch(again=True)

    put(Policy(mode, seed))
    for name in ("os", "random", "uuid", "numpy.random"):
        once_imported(name, reached)


def _seed_python(random: Any, seed: int) -> None:
    if hasattr(random, "SystemRandom"):  # else it is a script's own random.py
        random.seed(seed)


def _seed_numpy(numpy_random: Any, seed: int) -> None:
    from ..ground.seeds import numpy_seed

    numpy_random.seed(numpy_seed(seed))


def _apply(sources: Any, launch: Launch) -> None:
    from ..ground import snapshot
    from ..ground.config import Config
    from ..trace.recording.seeding import watch

    # What was drawn before torch was imported stays drawn.
    others = ("entropy", "python.random", "numpy.random")
    torchs = [source for source in sources.SOURCES if source.name not in others]
    config = Config(launch.seed, launch.deterministic, launch.num_threads)
    snapshot.apply(snapshot.capture(torchs), config)
    watch(again=True)  # which no scope does here, for the seeds of other calls


def _at_end(launch: Launch, asked: str, process: int) -> None:
    """Write which seeds were used, of scopes and the last of torch; or say that the script's own won over ours."""
    if os.getpid() != process:
        return  # a copy of the process: its parent tells
    from ..ground.seeds import torch_seed

    # What torch was last seeded with, which it alone of the libraries remembers; not there in a script's own torch.py.
    seed_of_torch = getattr(sys.modules.get("torch"), "initial_seed", None)
    seen, last = launching.seen or {}, None if seed_of_torch is None else seed_of_torch()
    if launch.seeds_file is not None:
        # Where the script has deleted it, nobody will be told.
        with contextlib.suppress(OSError), open(launch.seeds_file, "w", encoding="utf-8") as file:
            json.dump({"scopes": list(seen), "torch": last}, file)
        return
    notes = []
    if seen and launch.seed not in seen:
        seeds = ", ".join(map(str, seen))
        notes.append(f"gave reproducible() the seed {seeds} itself, which wins over {asked} inside of it")
    if last not in {None, *(torch_seed(seed) for seed in (launch.seed, *seen) if seed is not None)}:
        notes.append(f"seeded torch with {last} itself, which wins over {asked} from there on")
    for what in notes:
        sys.stderr.write(f"deterministic run: the script {what}. Leave it out there to have the command's.\n")


def _perform(task: ScriptTask) -> int:
    """Run it, and end as Python would have ended: what it raises is shown from its first line on."""
    interrupted: list[bool] = []
    # Registered first, so called last: after threads have ended and everything else has been cleaned up.
    atexit.register(_end_by_interrupt, interrupted)
    leave_launcher_out()
    _environment.begin_script()
    try:
        task.run()
    except (NotRunnableError, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - shown as Python shows what a script raises
        from ..scope.refusals import explain_refusal

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
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)


def _tell(plan: _environment.StartPlan, arguments: argparse.Namespace) -> None:
    """Say on stderr what is in effect, and what is not as it was asked for."""
    launch = plan.launch
    if launch == Launch():
        message = f"{arguments.config} has neither seed nor deterministic at its top level: as python runs it"
    else:
        seed = "no seed" if launch.seed is None else f"seed {launch.seed}"
        if arguments.seeds is not None:
            seed = f"seeds {', '.join(map(str, arguments.seeds))}"
        message = f"{seed}, deterministic={launch.deterministic!r}"
    for line in (message, *_environment.notes(plan, portable=arguments.portable)):
        sys.stderr.write(f"deterministic run: {line}\n")
    tell_misplaced(arguments)
    sys.stderr.flush()
