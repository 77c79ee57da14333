"""Run again what a manifest tells of: its script with its arguments, seed, level, threads and environment variables.

First it says on stderr what differs here that can alter bits. Another script, commit, or changes over it are refused,
unless --anyway is given. It runs where the command is given, under torchrun on as many ranks if torchrun had started
it, and exits as the script does. With --verify the manifest is one of `deterministic record --manifest`: it is recorded
again, and exits with 0 if all that was recorded has the same bits, and with 1 if not. Exits with 2 if nothing was run.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ground.levels import LEVEL_NAMES
from ._environment import command_with
from ._look import write_verdict
from ._options import FAILED, OK, UsageError

if TYPE_CHECKING:
    from ..provenance.difference import FieldDifference

_SET_HERE = (
    *("seed", "deterministic", "launch", "requested", "before", "generators", "settings", "trace", "data"),
    *("world_size", "local_world_size"),
)
_OURS = ("-m", "deterministic")
_LATER = ("num_workers", "packages", "start_method", "rank", "threads", "argv", "program", "python.hash_randomization")
_OF_PROGRAM = ("git", "script")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic replay`."""
    parser.add_argument(
        "manifest", type=Path, metavar="MANIFEST", help="what Manifest.write or record --manifest wrote"
    )
    parser.add_argument("--verify", action="store_true", help="record it again, and compare what it computes")
    parser.add_argument("--anyway", action="store_true", help="run it although the script or the commit is another")


def run(arguments: argparse.Namespace) -> int:
    """Run what a manifest tells of again, and return its exit status; with --verify 0 the same bits, 1 others."""
    from ..provenance.manifest import Manifest

    manifest = Manifest.read(arguments.manifest)
    data = manifest.data
    argv = _argv_of(data)
    if arguments.verify and not isinstance(data.get("trace.digest"), str):
        remedy = "Make it with `deterministic record -o FILE --manifest MANIFEST`."
        raise UsageError("this manifest does not say what was computed", f"found: {arguments.manifest}", remedy)
    is_module = data.get("program.module") is not None
    _require_same_program(_differing(manifest, argv, is_module=is_module), anyway=arguments.anyway)
    script = ["-m", str(data["program.module"]), *argv[1:]] if is_module else argv
    environment = _environment_of(data)
    if not arguments.verify:
        return subprocess.run(_command(data, _words(data, script)), env=environment).returncode
    with tempfile.TemporaryDirectory() as folder:
        trace, again = (os.path.join(folder, name) for name in ("a.trace", "a.json"))
        words = ["record", "-o", trace, "--manifest", again, "--level", str(data.get("trace.level"))]
        command = _command(data, [*_OURS, *words, *(_control(data) or ["--as-is"]), *script])
        status = subprocess.run(command, env=environment).returncode
        if data.get("world_size") not in (None, 1):
            again = os.path.join(folder, f"a.rank{data.get('rank')}.json")
        if not os.path.exists(again):
            raise UsageError("it did not come to its end", f"found: exit status {status}", "Look at what it printed.")
        found = Manifest.read(again).data["trace.digest"]
    is_same = found == data["trace.digest"]
    text = f"the same: {found}" if is_same else f"different: {found}, where the manifest has {data['trace.digest']}"
    write_verdict(text, OK if is_same else FAILED, sys.stdout)
    return OK if is_same else FAILED


def _argv_of(data: Mapping[str, Any]) -> list[str]:
    from ..provenance.redact import REDACTED

    argv = data.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise UsageError("this manifest does not say what ran", f"found: argv {argv!r}"[:200], "Run it yourself.")
    if any("\0" in word for word in (*argv, *_variables(data).values())):
        raise UsageError("no program can be given these arguments", "found: a null character", "Run it yourself.")
    hidden = [word for word in [*argv, *_variables(data).values()] if REDACTED in word]
    if hidden:
        remedy = "Run it yourself with what was left out: `deterministic run`."
        raise UsageError("this manifest lacks what looked like a secret", f"found: {hidden[0]!r}"[:200], remedy)
    if data.get("program.module") is None and not os.path.isfile(argv[0]):
        raise UsageError("there is no such script here", f"found: {argv[0]!r}"[:200], "Go to where it ran.")
    return argv


def _differing(manifest: Any, argv: list[str], *, is_module: bool) -> list[FieldDifference]:
    """Return what differs here, of what this command does not set and a script does not bring about."""
    from ..provenance import code
    from ..provenance.collecting import collected, slow_facts
    from ..provenance.manifest import Manifest

    code.to_run = (argv, is_module)
    try:
        found = manifest.diff(Manifest(collected(None, slow_facts(with_packages=False)))).differences
    finally:
        code.to_run = None
    left_out = (*_SET_HERE, *_LATER)
    return [one for one in found if not any(f"{one.field}.".startswith(f"{name}.") for name in left_out)]


def _require_same_program(found: list[FieldDifference], *, anyway: bool) -> None:
    from ..provenance.difference import ManifestDiff, shown

    other = [one for one in found if one.field.split(".")[0] in _OF_PROGRAM and one.a is not None and not anyway]
    altering = [one for one in found if one.can_alter_bits and one not in other]
    if altering:
        sys.stderr.write(f"deterministic replay: here {ManifestDiff(altering)}\n")
    if other:
        values = "\n  ".join(f"{one.field}: {shown(one.a)} then, {shown(one.b)} here" for one in other)
        raise UsageError("this is another program", values, "Check it out as it was, or give --anyway.")


def _variables(data: Mapping[str, Any]) -> dict[str, str]:
    start = "settings.environment."
    return {name.removeprefix(start): str(value) for name, value in data.items() if name.startswith(start)}


def _environment_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of this process, with the variables that affect numerics or seeds as they were."""
    import torch

    from ..sources.environment import VARIABLES

    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    # Others than these are not set, whatever a file says: PATH, or LD_PRELOAD.
    kept |= {name: value for name, value in _variables(data).items() if name in VARIABLES}
    threads = data.get("settings.torch.threads.num_threads")
    if type(threads) is int and 0 < threads != torch.get_num_threads():
        kept.setdefault("OMP_NUM_THREADS", str(threads))  # a machine with other processors would have as many as those
    return kept


def _control(data: Mapping[str, Any], above: str = "") -> list[str]:
    """Return the options that give a seed and a level; none if there was no seed."""
    seed, level = data.get(f"{above}seed"), data.get(f"{above}deterministic", False)
    names = {value: name for name, value in LEVEL_NAMES.items()}
    if type(seed) is not int or not isinstance(level, (bool, str)) or level not in names:
        return []
    return ["--seed", str(seed), "--deterministic", names[level]]


def _words(data: Mapping[str, Any], script: list[str]) -> list[str]:
    """Return what Python is given: `deterministic run` as it was given, or one with the seed; else the script.

    The level of a scope is the script's to set again, that of `record` is not.
    """
    control = _control(data, "launch.") or _control(data if "trace.digest" in data else {"seed": data.get("seed")})
    if not control:
        return script
    threads = data.get("settings.torch.threads.num_threads")
    several = ["--num-threads", str(threads)] if type(threads) is int and threads > 0 else []
    return [*_OURS, "run", "-q", *control, *several, *script]


def _command(data: Mapping[str, Any], words: list[str]) -> list[str]:
    """Return the command that gives words to Python, or to torchrun for as many ranks as it had started here."""
    ranks, local = data.get("world_size"), data.get("local_world_size")
    if ranks in (None, 1):
        return command_with(words[2:]) if tuple(words[:2]) == _OURS else [sys.executable, *words]
    if type(ranks) is not int or ranks != local:  # the script may have done it itself, or other machines had some
        found = f"found: {ranks} ranks, of which torchrun had started {local or 'none'} here"[:200]
        remedy = f"Give the launcher that they had what each of them ran: {shlex.join(words)}"
        raise UsageError("only ranks that one torchrun had started can be started again", found, remedy)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks))
    return [sys.executable, *launcher, *words]
