"""What is in effect in a fresh Python here, what `reproducible()` would make of it, and what it could not reach."""

from __future__ import annotations

import textwrap
from typing import Any, TextIO

from ._environment import misspelt
from ._look import write_table


def state() -> dict[str, Any]:
    """Return it as JSON.

    Returns:
        "schema": 1; "now": what `describe()` says; "inside": the report of a scope with the defaults, which is entered
        and left; "misspelt": variables of the environment that look like one of ours, and which; "versions".
    """
    from ..scope.reproducible import reproducible
    from ..sources.registry import describe

    now = describe()
    with reproducible() as run:
        inside = run.report().data
    return {"schema": 1, "versions": inside["versions"], "now": now, "inside": inside, "misspelt": misspelt()}


def write_state(found: dict[str, Any], file: TextIO) -> None:
    """Write it for people.

    Args:
        found: What `state` returned.
        file: Where to.
    """
    write_table(("versions", ""), [(name, str(value)) for name, value in found["versions"].items()], file)
    file.write("\n")
    variables = [(name, str(value)) for name, value in found["now"]["environment"].items()]
    write_table(("variables that affect the bits", ""), variables or [("none is set", "")], file)
    file.write("\n")
    write_table(("setting", "now", "in reproducible()"), _settings(found), file)
    for what, remedy in _gaps(found):
        file.write(f"\n{textwrap.fill(what, 110)}\n{textwrap.fill(remedy, 110, initial_indent='  ')}\n")


def _settings(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return what a scope sets: now, and inside of one."""
    rows = []
    for source in found["inside"]["sources"]:
        for name, value in source["set"].items():
            before = "" if value["before"] is None else str(value["before"])
            rows.append((f"{source['name']}.{name}", before if source["kind"] == "setting" else "", str(value["set"])))
    return rows


def _gaps(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is not controlled, each with its remedy."""
    told = [(f"{limit['subject']}: {limit['reason']}", limit["remedy"]) for limit in found["inside"]["limits"]]
    told += [
        (f"{name} is set, and nothing reads it: it looks like {meant}.", f"Set {meant}, or unset {name}.")
        for name, meant in found["misspelt"].items()
    ]
    return told
