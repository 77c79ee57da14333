"""Which program ran: its arguments, the file that it is, and the commit that it is of."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .reasons import told
from .redact import redacted

SECONDS = 5.0
"""Longest that one call of git may take."""

_LONGEST = 256 * 2**20
"""Bytes of a script that are read."""

# Nothing that the configuration may start or change: no pager, hook, differ, textconv or lazy fetch over the network.
_GIT = ("git", "--no-optional-locks", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.quotePath=true")
_DIFF = (
    *("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index"),
    *("--unified=3", "--diff-algorithm=myers", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--", "."),
)
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_ASKPASS": "true",
    "LC_ALL": "C",
}


to_run: tuple[Sequence[str], bool] | None = None
"""The arguments, with the script or module, of what a command of this library is to run, and whether it is a module."""


class GitError(Exception):
    """What git could not tell, and why."""


def program() -> dict[str, Any]:
    """Return which program this process runs: its arguments without secrets, its module or script."""
    if to_run is not None:
        argv, is_module = to_run
        return {"argv": redacted(argv), "program.module": argv[0] if is_module else None}
    name = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", None)
    argv = redacted(map(str, getattr(sys, "argv", [])))
    return {"argv": argv, "program.module": name and name.removesuffix(".__main__")}


def script() -> dict[str, Any]:
    """Return the digest of the file that this process runs."""
    path = _script_path()
    if path is None:
        return told({"script.sha256": None}, "the program is no file: a module, a notebook, a prompt or -c")
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while len(part := file.read(2**20)) and file.tell() <= _LONGEST:
                digest.update(part)
    except OSError as error:
        return told({"script.sha256": None}, f"it cannot be read: {error.strerror}")
    return {"script.sha256": digest.hexdigest()}


def commit() -> dict[str, Any]:
    """Return the commit of the program's repository, and whether and how files that git knows differ from it.

    Remotes are not looked at: they may hold passwords. Files that git does not know are not told of.
    """
    path, why = _script_path(), ""
    names = ("git.commit", "git.dirty", "git.diff_sha256")
    for directory in ([] if path is None else [os.path.dirname(os.path.realpath(path))]) + [os.curdir]:
        try:
            answer = _git(("rev-parse", "--show-toplevel", "HEAD"), directory)[1]
            top, head = answer.rstrip(b"\n").rsplit(b"\n", 1)
            digest, begins = _git(_DIFF, os.fsdecode(top))
        except GitError as error:
            why = why or str(error)
        else:
            return dict(zip(names, (head.decode("ascii", "replace"), bool(begins), digest), strict=True))
    return told(dict.fromkeys(names), why)


def _script_path() -> str | None:
    path: Any = getattr(sys.modules.get("__main__"), "__file__", None)
    if to_run is not None:
        path = None if to_run[1] else to_run[0][0]
    return path if isinstance(path, str) and os.path.isfile(path) else None


def _git(arguments: Sequence[str], directory: str) -> tuple[str, bytes]:
    """Return the digest of what git prints, and its first bytes; raise GitError within some seconds."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        process = subprocess.Popen(
            [*_GIT, *arguments],
            cwd=directory,
            env={**theirs, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise GitError(f"git cannot be run: {error.strerror}") from error
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(ProcessLookupError):
            # With whatever it has started, which may hold what it prints into.
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()

    clock = threading.Timer(SECONDS, end)
    clock.daemon = True
    clock.start()
    with process:
        try:
            digest, begins = hashlib.sha256(), b""
            while process.stdout is not None and (part := process.stdout.read(2**16)):
                digest.update(part)
                begins = begins or part[:4096]
        finally:
            clock.cancel()
    if late.is_set():
        raise GitError(f"git took longer than {SECONDS:.0f} s")
    if process.returncode:
        raise GitError("no repository with a commit that git may read")
    return digest.hexdigest(), begins
