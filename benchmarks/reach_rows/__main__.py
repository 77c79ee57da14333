"""One Python of `benchmarks.reach`, given a folder for what is found and the rows: it loads torch, and forks."""

import json
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.reach import PARTS, child


def forked(name: str, part: str, path: Path) -> None:
    """Observe a part of a row in a process of its own, and end whatever that has started."""
    began = time.monotonic()
    process = os.fork()
    if not process:
        os.setsid()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.dup2(2, 1)
            path.write_text(json.dumps(child(name, part)), encoding="utf-8")
            os.chdir("/")
        os._exit(0)  # what a library still has running is not waited for
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        if time.monotonic() - began > PARTS[part]:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    print(f"{name}, {part}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    found, *names = sys.argv[1:]
    for name in names:
        for part in PARTS:
            forked(name, part, Path(found) / f"{name} {part}.json")
