"""Find in source what breaks reproducibility, without running it: unseeded generators, orders that are none, flags.

Reads files, notebooks and folders. A comment `# deterministic: ignore[RULE]` on a line of the statement silences a
rule there, `# deterministic: ignore` every rule. Exits with 0 if nothing is found, with 1 if something is, and with 2
if a file could not be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from ..ground.tables import wrapped
from . import _options as options
from ._look import command, write_verdict

if TYPE_CHECKING:
    from ..provenance.audit.audit import Fault


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic audit`."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file of Python, a notebook, or a folder")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print what was found as JSON")
    form.add_argument("--format", choices=["text", "github"], help="github: annotate the lines, for GitHub Actions")


def run(arguments: argparse.Namespace) -> int:
    """Audit the files, and return 0 nothing found, 1 something, 2 a file could not be read."""
    from ..provenance.audit.audit import audit
    from ..provenance.audit.files import UnreadableError, files_in

    files, findings, unread = 0, [], {}
    for path in files_in(arguments.paths):
        try:
            findings += audit(path)
            files += 1
        except UnreadableError as error:
            unread[path] = str(error)
    status = options.UNUSABLE if unread else options.FAILED if findings else options.OK
    if arguments.json:
        told = [{"path": path, "why": why} for path, why in unread.items()]
        report = {"schema": 1, "files": files, "findings": list(map(_data, findings)), "unread": told}
        sys.stdout.write(f"{json.dumps(report, indent=2)}\n")
        return status
    for path, why in unread.items():
        sys.stderr.write(f"{path}: {why}\n")
    write_verdict("\n".join([_headline(files, findings, unread), *_told(findings)]), status, sys.stdout)
    if arguments.format == "github":
        for finding in findings:
            where = {"file": finding.path} if finding.cell else {"file": finding.path, "line": str(finding.line)}
            title = f"{finding.rule}: {finding.message}"
            sys.stdout.write(command("error", where | {"title": title}, f"{finding.place}: {_data(finding)['fix']}"))
    return status


def _headline(files: int, findings: list[Fault], unread: dict[str, str]) -> str:
    places = f"{len(findings) or 'no'} place{'' if len(findings) == 1 else 's'}"
    rest = f"; {len(unread)} could not be read" if unread else ""
    return f"{places} in {files} file{'' if files == 1 else 's'} that can break reproducibility{rest}"


def _told(findings: list[Fault]) -> list[str]:
    """Return a line for each finding, and below them, for each rule that they break, why it matters and what to do."""
    from ..provenance.audit.rules import RULES

    broken = [RULES[name] for name in sorted({finding.rule for finding in findings})]
    lines = [f"  {finding.place}: {finding.rule} {finding.message}" for finding in findings]
    for rule in broken:
        lines += ["", *wrapped(f"{rule.id}, {rule.what}: {rule.why}; {rule.fix}", "")]
    return lines


def _data(finding: Fault) -> dict[str, Any]:
    from ..provenance.audit.rules import RULES

    rule = RULES[finding.rule]
    place = finding._asdict() | {"cell": finding.cell or None}
    return place | {"why": rule.why, "fix": rule.fix, "docs": rule.docs}
