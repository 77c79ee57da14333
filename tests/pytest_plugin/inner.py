"""A session of pytest in a process of its own, over one of the files in `suites`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUITES = Path(__file__).parent / "suites"

# Plugins of what else may be installed: importing them takes longer than most sessions here.
OTHERS = [part for name in ("anyio", "hydra_pytest", "hypothesispytest", "pytest_cov") for part in ("-p", f"no:{name}")]

SEEN = "SEEN"
"""The environment variable with the file to which a suite appends what it saw: one JSON list in a line."""


@dataclass(frozen=True)
class Session:
    """What a session said.

    Attributes:
        code: Its exit code.
        output: All that it printed.
        seen: What its tests noted down, in order.
    """

    code: int
    output: str
    seen: list[tuple[str, object]]

    def outcome(self, test: str) -> str:
        """Return how a test came out, by its name without the file; one word, or several if it had several."""
        found = re.findall(rf"^([A-Z]+) \S+?::{re.escape(test)}(?: - .*)?$", self.output, re.MULTILINE)
        return " ".join(found)

    def notes(self, name: str) -> list[object]:
        """Return what was noted under a name."""
        return [what for noted, what in self.seen if noted == name]

    def section(self, test: str) -> str:
        """Return what was reported of a test that failed."""
        found = re.search(
            rf"^_+ (?:ERROR at \w+ of )?{re.escape(test)} _+$\n(.*?)^(?:_+ |=+ )", self.output, re.M | re.S
        )
        return "" if found is None else found[1]


def run_suite(
    folder: Path, suite: str | Mapping[str, str], *arguments: str, ini: str = "", environment: Mapping[str, str] = {}
) -> Session:
    """Run pytest over a suite: a file in `suites`, or texts by the names of their files.

    Args:
        folder: An empty folder.
        suite: Which.
        arguments: For the command line. Without `-p randomly` among them pytest-randomly is off.
        ini: What stands in the section of pytest.
        environment: Variables to set.
    """
    files = {f"test_{suite}.py": (SUITES / f"{suite}.py").read_text()} if isinstance(suite, str) else suite
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
    seen = folder / "seen"
    seen.write_text("")
    randomly = () if "randomly" in arguments else ("-p", "no:randomly")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONHASHSEED"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *OTHERS, *randomly, *arguments],
        cwd=folder,
        env={**inherited, SEEN: str(seen), "COLUMNS": "200", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    notes = [json.loads(line) for line in seen.read_text().splitlines()]
    return Session(done.returncode, done.stdout + done.stderr, [(name, what) for name, what in notes])
