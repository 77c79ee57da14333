"""Compare two traces, and say where they first differ and why; or two manifests, by what can alter bits.

Traces come from `deterministic record`, from `record(...)` in Python, or from `deterministic verify --keep-traces`;
manifests from `manifest().write(...)`, or from `deterministic info --manifest`. What a file is, its content says. Of
traces it exits with 0 if they are the same, with 1 if they differ, and with 2 if that could not be told; of manifests
with 1 if they differ in what can alter bits, else with 0, and with 2 if one cannot be read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._look import write_report
from ._options import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `deterministic diff`."""
    parser.add_argument("a", type=Path, metavar="A", help="a trace, or a manifest")
    parser.add_argument("b", type=Path, metavar="B", help="another one")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compare two traces or two manifests: 0 the same, 1 different, 2 could not tell."""
    a, b = arguments.a, arguments.b
    manifests = [_is_manifest(path) for path in (a, b)]
    if all(manifests):
        from ..provenance.manifest import Manifest

        return write_report(Manifest.read(a).diff(Manifest.read(b)), as_json=arguments.json)
    other = b if manifests[0] else a
    if any(manifests) and not other.is_file():
        found = "it is no file" if other.exists() else "there is no such file"
        raise UsageError(f"{other} cannot be compared with a manifest", f"found: {found}", "Name another manifest.")
    if any(manifests):
        words = (f"{path}: {'a' if found else 'no'} manifest" for path, found in zip((a, b), manifests, strict=True))
        raise UsageError("these cannot be compared", "; ".join(words), "Name two traces, or two manifests.")
    from ..trace.comparing.diff import diff

    return write_report(diff(a, b), as_json=arguments.json)


def _is_manifest(path: Path) -> bool:
    """Return whether a file begins as JSON does; a trace begins with bytes of its own."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    except OSError:
        return False
