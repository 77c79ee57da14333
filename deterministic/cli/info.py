"""Show what is in effect in a fresh Python here, what reproducible() would set, and what it could not and the remedy.

With a CHECKPOINT, show what is inside of it instead, without loading its tensors, and check all of it against its
checksum. It is a file that save_checkpoint or Checkpoint wrote, or the directory of a Checkpoint: then it is the last
one that is shown. Exits with 0 if it is whole, with 1 if it is damaged or there is none, and with 2 if it cannot be
read. With --manifest, write into a file what can alter bits here, or when the checkpoint was saved; `deterministic
diff` compares two of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from ..errors import CheckpointError
from ..ground.tables import wrapped
from ._environment import misspelt
from ._look import write_table
from ._options import FAILED, OK, UsageError, refuse, require_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic info`."""
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, metavar="CHECKPOINT", help="a file, or the directory of a Checkpoint"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="write the manifest into a file; show nothing")


def run(arguments: argparse.Namespace) -> int:
    """Show what is in effect, or what is inside a checkpoint: 0 whole, 1 damaged or none, 2 it cannot be read."""
    if arguments.manifest is not None:
        require_writable(arguments.manifest)
    if arguments.checkpoint is None and arguments.manifest is not None:
        from ..provenance.collecting import kept_manifest
        from ..provenance.manifest import Manifest

        Manifest(_of_no_run(kept_manifest())).write(arguments.manifest)
        return OK
    if arguments.checkpoint is None:
        in_effect = _in_effect()
        if arguments.json:
            sys.stdout.write(f"{json.dumps(in_effect, indent=2)}\n")
        else:
            _write(in_effect, sys.stdout)
        return OK
    if not arguments.checkpoint.exists():
        raise UsageError(f"{arguments.checkpoint} does not exist")
    from ..checkpoint.load import inside, shown

    try:
        checkpoint = inside(arguments.checkpoint)
    except CheckpointError as error:
        refuse("info", error)
        return FAILED
    if arguments.manifest is not None:
        return _extract(checkpoint, arguments)
    sys.stdout.write(f"{json.dumps(checkpoint, indent=2) if arguments.json else shown(checkpoint)}\n")
    return OK


def _of_no_run(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of this process without those of a run: its program is this command, and its draws nobody's."""
    from ..provenance.reasons import REASON, told

    nobodys = ("argv", "program", "script", "generators", "before")
    kept = {name: value for name, value in facts.items() if name.removeprefix(REASON).split(".")[0] not in nobodys}
    return {**kept, **told(dict.fromkeys(("argv", "program.module", "script.sha256", "generators")), "nothing was run")}


def _extract(checkpoint: dict[str, Any], arguments: argparse.Namespace) -> int:
    from ..provenance.manifest import Manifest

    if not isinstance(checkpoint.get("manifest"), dict):
        raise UsageError("this checkpoint has no manifest: an earlier version of this library has saved it")
    Manifest(checkpoint["manifest"]).write(arguments.manifest)
    return OK


def _in_effect() -> dict[str, Any]:
    """Return as JSON what `describe()` says, the report of a scope that is entered and left, and what is misspelt."""
    from ..scope.reproducible import reproducible
    from ..sources.registry import describe

    now = describe()
    with reproducible() as run:
        inside = run.report().data
    return {"schema": 1, "versions": inside["versions"], "now": now, "inside": inside, "misspelt": misspelt()}


def _write(in_effect: dict[str, Any], file: TextIO) -> None:
    write_table(("versions", ""), [(name, str(value)) for name, value in in_effect["versions"].items()], file)
    variables = [(name, str(value)) for name, value in in_effect["now"]["environment"].items()]
    file.write("\n")
    write_table(("variables that affect the bits", ""), variables or [("none is set", "")], file)
    settings = []
    for source in in_effect["inside"]["sources"]:
        for name, value in source["set"].items():
            now = "" if source["kind"] != "setting" or value["before"] is None else str(value["before"])
            settings.append((f"{source['name']}.{name}", now, str(value["set"])))
    file.write("\n")
    write_table(("setting", "now", "in reproducible()"), settings, file)
    gaps = [(f"{limit['subject']}: {limit['reason']}", limit["remedy"]) for limit in in_effect["inside"]["limits"]]
    gaps += [
        (f"{name} is set, and nothing reads it: it looks like {meant}.", f"Set {meant}, or unset {name}.")
        for name, meant in in_effect["misspelt"].items()
    ]
    file.write("\nnot controlled\n" if gaps else "")
    for what, remedy in gaps:
        file.write("\n".join(["", *wrapped(what, "  "), *wrapped(remedy, "    "), ""]))
