"""Run a script, and record what it computes, as hashes, into a file that `deterministic diff` compares with another.

The script runs in this process under `reproducible()`, seeded and with deterministic algorithms; with --as-is it runs
as it does without this command. Exits as the script does.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..trace.file.model import TRACE_LEVELS
from ._options import FAILED, OK, add_control, add_script, control_of, refuse, require_writable, task_of, tell_misplaced


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic record`."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write the trace")
    parser.add_argument(
        "--level",
        choices=TRACE_LEVELS,
        default="ops",
        metavar="LEVEL",
        help=f"{', '.join(TRACE_LEVELS)} (default: ops)",
    )
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="write what `replay` needs to run it again")
    parser.add_argument("--absolute-paths", action="store_true", help="write absolute paths of source files")
    parser.add_argument("--no-source", action="store_true", help="do not keep the text of the lines that it names")
    add_control(parser)
    add_script(parser)


def run(arguments: argparse.Namespace) -> int:
    """Record a script, and return 0, or 1 if it raised; its SystemExit goes on."""
    task, control = task_of(arguments), control_of(arguments)
    for path in filter(None, (arguments.output, arguments.manifest)):
        require_writable(path)
    trace, manifest = arguments.output.absolute(), arguments.manifest and arguments.manifest.absolute()
    tell_misplaced(arguments)

    from ..errors import TraceError
    from ..provenance import code
    from ..scope.refusals import explain_refusal
    from ..trace.recording.record import path_of_rank, record
    from ..verification.scripts import NotRunnableError, leave_launcher_out, show

    recording = record(
        arguments.output, arguments.level, absolute_paths=arguments.absolute_paths, source=not arguments.no_source
    )
    leave_launcher_out()
    code.to_run = ((task.target, *task.argv), task.is_module)
    try:
        with contextlib.ExitStack() as stack:
            if not isinstance(control, bool):
                stack.enter_context(control)
            try:
                stack.enter_context(recording)
            except TraceError as error:
                return refuse("record", error)
            code.to_run = None
            try:
                task.run()
            except RuntimeError as error:
                explain_refusal(error, task.way_out.replace("verify", "record"))
                raise
    except NotRunnableError as error:
        return refuse("record", error)
    except Exception as error:  # noqa: BLE001 - shown as Python shows what a script raises
        show(error)
        return FAILED
    finally:
        code.to_run = None
    if manifest is not None:  # the script may have gone to another directory
        if recording.header["world_size"] > 1:
            trace, manifest = (path_of_rank(path, recording.header["rank"]) for path in (trace, manifest))
        _write_manifest(manifest, trace, recording.header)
    return OK


def _write_manifest(path: Path, trace: Path, header: Mapping[str, Any]) -> None:
    """Write the manifest of a run with what it computed: a digest of its trace, which is finished."""
    from hashlib import blake2b

    from ..provenance.manifest import Manifest
    from ..trace.file.store import TraceReader

    with TraceReader(trace) as reader:
        digest = blake2b(b"".join(segment.digest for segment in reader.steps()), digest_size=16)
    computed = {"trace.level": header["level"], "trace.digest": digest.hexdigest()}
    Manifest({**header["manifest"], **computed}).write(path)
