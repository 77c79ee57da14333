"""A manifest as a value: written, read and compared. Importing it does not import torch."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import ManifestError, clipped, cut
from ..ground.tables import ShownByFirstLine, aligned
from .difference import ManifestDiff, differences

SCHEMA = 1  # grows when a field changes its meaning; new fields alone do not make it grow
LARGEST = 16 * 2**20  # bytes of a file that is read

_DEEPEST = 8
_LONGEST_NUMBER = 40

_Path: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True, repr=False)
class Manifest(ShownByFirstLine):
    """What a run was.

    Attributes:
        data: A value of JSON by the name of each field, `"schema"` the first. Where it is None, and a field of the same
            name with "reason." before it is there, it could not be found out, and that says why.
    """

    data: Mapping[str, Any]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; a file that is there is replaced.

        Args:
            path: The file.

        Raises:
            ManifestError: The operating system refuses, or a value is not JSON.
        """
        try:
            text = json.dumps({**self.data}, indent=1, allow_nan=False)
            Path(path).write_text(f"{text}\n", encoding="ascii")
        except (OSError, ValueError) as error:  # the second of what JSON does not have
            remedy = "Name a file that can be written."
            raise ManifestError("the manifest cannot be written", (f"found: {error}",), remedy) from error

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Manifest:
        """Read one that `write` has written.

        Args:
            path: The file, of 16 MB at most.

        Raises:
            ManifestError: It cannot be read, is none, or one of a later version of this library.
        """
        return cls(_checked(_parsed(_content(path), path), path))

    def diff(self, other: Manifest) -> ManifestDiff:
        """Return in which fields another one differs, ranked by how likely that alters bits.

        Args:
            other: The later or the other machine's; what is compared is the same either way round.

        Example:
            >>> a, b = Manifest({"schema": 1, "seed": 1}), Manifest({"schema": 1, "seed": 2})
            >>> print(a.diff(b))
            1 difference can alter bits
              1  seed  1 -> 2
                   other random numbers are drawn. Give the same seed.
        """
        return ManifestDiff(differences(self.data, other.data))

    def __str__(self) -> str:
        rows = [(clipped(cut(name)[1:-1]), clipped(cut(value))) for name, value in self.data.items()]
        return "\n".join([f"manifest: {len(rows)} fields", *(aligned(rows) if rows else ())])


# Files of others


def _content(path: _Path) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe may have no end, or nobody who writes
            raise ValueError("it is no regular file")
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(path, f"it is no text in UTF-8: {error.reason}, at byte {error.start}") from error
    except (OSError, ValueError) as error:  # the second also of a name that no file can have
        raise _refusal(path, getattr(error, "strerror", None) or str(error)) from error


def _parsed(text: str, path: _Path) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(mapping := dict(found)) < len(found):
            raise ValueError("it has a name twice")
        return mapping

    def constant(name: str) -> None:
        raise ValueError(f"it has {name}, which is not JSON")

    def integer(digits: str) -> int:
        if len(digits) > _LONGEST_NUMBER:
            raise ValueError(f"it has a number of {len(digits):,} digits")
        return int(digits)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_int=integer)
    except RecursionError as error:
        raise _refusal(path, "it is nested too deep") from error
    except ValueError as error:
        raise _refusal(path, str(error)) from error


def _checked(data: Any, path: _Path) -> dict[str, Any]:
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise _refusal(path, 'it has no number "schema"')
    if data["schema"] != SCHEMA:
        remedy = "Read it with the version of this library that has written it, or a later one."
        raise _refusal(path, f"schema {cut(data['schema'])}, where this version reads {SCHEMA}", remedy)
    wrong = next((name for name, value in data.items() if not _is_plain(value)), None)
    if wrong is not None:
        raise _refusal(path, f"the field {clipped(cut(wrong))} is neither a text, a number nor a list of these")
    return data


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list):
        return depth < _DEEPEST and all(_is_plain(one, depth + 1) for one in value)
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _refusal(path: _Path, found: str, remedy: str = "Pass a file that Manifest.write wrote.") -> ManifestError:
    return ManifestError(f"{os.fspath(path)} cannot be read as a manifest", (f"found: {found}",), remedy)
