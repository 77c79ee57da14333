"""Show what is in effect in a fresh Python here, what reproducible() would set, and what it could not and the remedy.

With a CHECKPOINT, show what is inside of it instead, without loading its tensors, and check all of it against its
checksum. It is a file that save_checkpoint or Checkpoint wrote, or the directory of a Checkpoint: then it is the last
one that is shown. Exits with 0 if it is whole, with 1 if it is damaged or there is none, and with 2 if it cannot be
read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ._verb import FAILED, OK, refuse

HELP = "show what is in effect and what is not controlled, or what is inside a checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic info`."""
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, metavar="CHECKPOINT", help="a file, or the directory of a Checkpoint"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Show what is in effect, or what is inside a checkpoint.

    Args:
        arguments: What `add_arguments` declares.

    Returns:
        0; for a checkpoint 0 whole, 1 damaged or none, 2 it cannot be read.
    """
    if arguments.checkpoint is None:
        from ._state import state, write_state

        now = state()
        if arguments.json:
            sys.stdout.write(f"{json.dumps(now, indent=2)}\n")
        else:
            write_state(now, sys.stdout)
        return OK
    from ..checkpoint.load import inside, shown
    from ..errors import CheckpointError

    if not arguments.checkpoint.exists():
        return refuse(f"{arguments.checkpoint} does not exist")
    try:
        found = inside(arguments.checkpoint)
    except CheckpointError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    sys.stdout.write(f"{json.dumps(found, indent=2) if arguments.json else shown(found)}\n")
    return OK
