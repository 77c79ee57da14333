"""Which files are read, and how: source in any encoding, and the cells of notebooks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib.util import decode_source
from typing import NamedTuple

from ...errors import DeterministicError

LARGEST = 2 * 2**20  # bytes of a file that is read: more is data

MOST_SIGNS = 300_000
"""Signs and lines of source that is parsed. Python's parser takes a kilobyte for what stands between two of them; the
largest of 45,000 files of packages has 156,000."""

_SIGNS = ",([{.=+-*/<>:;|&@%~^\n"
_LEFT_OUT = ("node_modules", "build", "dist", "__pycache__", "site-packages", "venv")
_MAGIC = re.compile(r"^([ \t]*)(?:[%!?].*|.*\?)$", re.MULTILINE)
_ASSIGNED = re.compile(r"=[ \t]*[%!].*$", re.MULTILINE)
_OTHER = re.compile(r"\s*%%(?!time|timeit|capture|prun|reproducible)")
"""Matches a cell that is in another language than Python."""


class UnreadableError(DeterministicError, ValueError):
    """A file is not what it is said to be, or cannot be read."""


class Code(NamedTuple):
    """The code of a file."""

    text: str  # it; of a notebook all cells, one below the other, since a name of one is known in the next
    # Of a notebook the number of each cell, counted from 1, and the line at which it begins.
    cells: tuple[tuple[int, int], ...] = ()

    def place(self, line: int) -> tuple[int, int]:
        """Return the cell that a line is in, 0 in a file of source, and the line there."""
        number, first = max(filter(lambda cell: cell[1] <= line, self.cells), key=lambda cell: cell[1], default=(0, 1))
        return number, line - first + 1


def files_in(paths: list[str]) -> Iterator[str]:
    """Yield each file that is named, and those of source and notebooks in folders, sorted; links are not followed.

    Hidden folders, and those of packages and what was built, are left out.
    """
    for path in dict.fromkeys(map(os.path.normpath, paths)):
        if not os.path.isdir(path):
            yield path
            continue
        unlisted: list[OSError] = []
        for folder, folders, files in os.walk(path, onerror=unlisted.append):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _LEFT_OUT)
            names = (name for name in sorted(files) if name.endswith((".py", ".ipynb")))
            yield from (os.path.normpath(os.path.join(folder, name)) for name in names)
        yield from (str(error.filename) for error in unlisted)  # to be told of as what cannot be read


def code_of(path: str) -> Code:
    """Return the code of a file; an UnreadableError says that it is too large, no text, a notebook that is none."""
    try:
        if not os.path.isfile(path):
            what = "this is a folder that cannot be listed" if os.path.isdir(path) else "this is no plain file"
            raise UnreadableError(what if os.path.exists(path) else "there is no such file")
        if (size := os.path.getsize(path)) > LARGEST:
            raise UnreadableError(f"it has {size:,} bytes, and at most {LARGEST:,} are read")
        with open(path, "rb") as file:
            data = file.read(LARGEST)
        code = _cells(data) if path.endswith(".ipynb") else Code(decode_source(data))
        if (signs := sum(map(code.text.count, _SIGNS))) > MOST_SIGNS:
            what = "brackets, commas, operators and lines"
            raise UnreadableError(f"it has {signs:,} {what}, and at most {MOST_SIGNS:,} are parsed")
        return code
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror}") from error
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise UnreadableError(f"it is no text: {error}") from error


def _cells(data: bytes) -> Code:
    try:
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(data)["cells"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableError("it is no notebook of version 4, which is a JSON object with cells") from error
    texts, starts, line = [], [], 1
    for number, (kind, text) in enumerate(cells, 1):
        if kind == "code" and not _OTHER.match(text):
            texts.append(_ASSIGNED.sub("= None", _MAGIC.sub(r"\1pass", text)))
            starts.append((number, line))
            line += texts[-1].count("\n") + 1
    return Code("\n".join(texts), tuple(starts))
