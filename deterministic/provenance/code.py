"""Which program ran: its arguments, the file that it is, and the commit that it is of."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from .reasons import or_null, told
from .redact import redacted

SECONDS = 5.0  # longest that one call of git may take
_LONGEST = 256 * 2**20  # bytes of a script that are read

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


@or_null("argv", "program.module")
def program() -> dict[str, Any]:
    """Return which program this process runs: its arguments without secrets, its module or script."""
    if to_run is not None:
        argv, is_module = to_run
        return {"argv": redacted(argv), "program.module": argv[0] if is_module else None}
    name = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", None)
    module = name.removesuffix(".__main__") if isinstance(name, str) else None
    if not isinstance(words := getattr(sys, "argv", None), list):  # of a program that Python is embedded in
        return {**told({"argv": None}, "sys.argv is no list"), "program.module": module}
    return {"argv": redacted(map(str, words)), "program.module": module}


@or_null("script.sha256")
def script() -> dict[str, Any]:
    """Return the digest of the file that this process runs."""
    path = _script_path()
    if path is None:
        return told({"script.sha256": None}, "the program is no file: a module, a notebook, a prompt or -c")
    with open(path, "rb") as file:
        return {"script.sha256": hashlib.sha256(file.read(_LONGEST)).hexdigest()}


@or_null("git.commit", "git.dirty", "git.diff_sha256")
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
    with tempfile.TemporaryFile() as printed:  # no pipe: what git has started may hold one open
        try:
            status = subprocess.run(
                [*_GIT, *arguments],
                cwd=directory,
                env={**theirs, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
            ).returncode
        except OSError as error:
            raise GitError(f"git cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git took longer than {SECONDS:.0f} s") from error
        if status:
            raise GitError("no repository with a commit that git may read")
        printed.seek(0)
        digest = hashlib.sha256(begins := printed.read(4096))
        while part := printed.read(2**16):
            digest.update(part)
    return digest.hexdigest(), begins
