"""What only the environment can fix, and only before Python starts: the variables of `deterministic run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from ..ground.launch import HASH_SEED, VARIABLE, Launch, launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# AVX2 is what every x86-64 processor of the last ten years has. MKL takes its other code paths on Intel's alone, so
# there only COMPATIBLE is taken everywhere; its square roots still begin with what each processor estimates.
_PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}

_MISSPELT = 0.93
"""Similarity from which a name counts as a misspelling; "OMP_NUM_THREADS" is 0.86 from "MKL_NUM_THREADS"."""

_IN_SCRIPT: list[bool] = []

_X86 = ("x86_64", "amd64")


class StartPlan:
    """What a process is to do once it runs, and variables that stay as the user set them, with what was wanted."""

    def __init__(self, launch: Launch, kept: Sequence[tuple[str, str, str]]) -> None:
        self.launch, self.kept = launch, kept

    @property
    def missing(self) -> Mapping[str, str]:
        """The variables that this process was started without."""
        if self.launch == Launch():
            return {}  # nothing was asked for, so it is not started again
        wanted = {**self.launch.variables, VARIABLE: self.launch.encode()}
        return {name: value for name, value in wanted.items() if os.environ.get(name) != value}

    @property
    def was_tried(self) -> bool:
        """Whether this process was already started for this plan, and lost some of it on the way."""
        return os.environ.get(VARIABLE) == self.launch.encode()


def plan(launch: Launch, *, portable: bool = False) -> StartPlan:
    """Return what is to be set before Python starts, and what the user has set differently.

    What an enclosing `deterministic run` has set is not the user's own, and gives way.
    """
    above = launched()
    theirs = {} if above is None else above.variables
    variables, kept = {}, []
    for name, value in _wanted(launch, portable).items():
        current = os.environ.get(name)
        if not current or current == theirs.get(name) or current == value:
            variables[name] = value
        else:
            kept.append((name, current, value))
    return StartPlan(Launch(**{**vars(launch), "variables": variables}), kept)


def start_again(variables: Mapping[str, str], argv: Sequence[str], *, in_place: bool) -> NoReturn:
    """Start this command again with these variables: in place of this process, or as its child, whose status it has.

    Windows has children alone.
    """
    command, environment = command_with(argv), {**os.environ, **variables}
    if in_place and os.name != "nt":
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(command[0], command, environment)
    import subprocess

    raise SystemExit(subprocess.run(command, env=environment).returncode)


def command_with(argv: Sequence[str]) -> list[str]:
    """Return the command that starts this program as it was started, options of Python included."""
    end = len(sys.orig_argv) - len(sys.argv) + 1
    if not _IN_SCRIPT and sys.argv[1:] == sys.orig_argv[end:]:
        return [sys.executable, *sys.orig_argv[1:end], *argv]
    import subprocess

    # What the process was started with is another program, which called this one.
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *options, "-m", __package__.partition(".")[0], *argv]


def begin_script() -> None:
    """Say that from now on this process is the script's: if that is this program again, it must not start all anew."""
    _IN_SCRIPT.append(True)


def notes(plan: StartPlan, *, portable: bool) -> list[str]:
    """Return what the user should know of how this process was started, a line each."""
    lines = [f"{name}={kept} is left as you set it; this run would have {value}" for name, kept, value in plan.kept]
    if plan.missing and plan.was_tried:
        lines.append(f"{', '.join(plan.missing)}: something takes it out of the environment when Python starts")
    if HASH_SEED in plan.launch.variables and sys.flags.ignore_environment:
        lines.append(f"{HASH_SEED} has no effect: Python was told to ignore its variables (-E, -I)")
    lines += [f"{name} is set, and nothing reads it: did you mean {meant}?" for name, meant in misspelt().items()]
    if portable:
        lines.append(_cost_of_portable(plan.launch))
    return lines


def misspelt() -> dict[str, str]:
    """Return the variables that are set and look like one that matters here: by the name found, the name meant."""
    known = (HASH_SEED, WORKSPACE, *_THREADS, *_PORTABLE)
    meant: dict[str, str] = {}
    for name in os.environ.keys() - set(known):
        near = [one for one in known if _may_be_close(name.upper(), one)]
        if near:
            import difflib  # here, because hardly any run has a name that it is needed for

            meant.update((name, one) for one in difflib.get_close_matches(name.upper(), near, n=1, cutoff=_MISSPELT))
    return meant


def _may_be_close(one: str, other: str) -> bool:
    """Return whether so many of the letters of both are in the other that difflib can find them as similar as that."""
    least = _MISSPELT / 2 * (len(one) + len(other))
    return min(len(one), len(other)) >= least and len(one) - len({*one} - {*other}) >= least


def _wanted(launch: Launch, portable: bool) -> dict[str, str]:
    wanted = {}
    if launch.seed is not None:
        wanted[HASH_SEED] = str(launch.seed % 2**32)  # Python takes no larger one
    if launch.deterministic in (True, "warn"):
        wanted[WORKSPACE] = ":4096:8"
    if launch.num_threads is not None:
        wanted.update(dict.fromkeys(_THREADS, str(launch.num_threads)))
    if portable and _machine().lower() in _X86:
        wanted.update(_PORTABLE)
    return wanted


def _machine() -> str:
    import platform  # here, because only --portable needs it

    return platform.machine()


def _cost_of_portable(launch: Launch) -> str:
    threads = f"{launch.num_threads} thread{'' if launch.num_threads == 1 else 's'}"
    if _machine().lower() not in _X86:
        return f"--portable: {threads}; on {_machine()} there is no choice of instructions that can be fixed"
    return (
        f"--portable: {threads}, AVX2, MKL's compatible kernels: CPU operations take longer, matrix products "
        "several times as long"
    )
