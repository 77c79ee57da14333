"""The files that verbs write, looked at before time is spent on what goes into them."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import explain
from ._verb import missing_extra


def unwritable(path: Path) -> str | None:
    """Say why a file could not be written; None if it can."""
    folder = path.parent
    if not folder.is_dir():
        return explain("there is no such directory", (f"found: {folder}",), "Make it, or name another file.")
    if path.is_dir():
        return explain("this is a directory", (f"found: {path}",), "Name a file.")
    if not os.access(path if path.exists() else folder, os.W_OK):
        return explain("the file cannot be written", (f"found: {path}",), "Name one that can.")
    return None


def undrawable(path: Path, what: str) -> str | None:
    """Say why a picture could not be drawn; None if it can.

    Args:
        path: Where to.
        what: The command that draws it, for example "deterministic verify --plot".
    """
    if path.suffix.lower() != ".png":
        return explain("the picture is a PNG", (f"found: {path}",), "Give a name that ends in .png.")
    return unwritable(path) or missing_extra(what, "plot", {"matplotlib": "matplotlib"})
