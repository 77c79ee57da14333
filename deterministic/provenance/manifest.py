"""`manifest`: everything that is known to alter the bits of a run, as one flat mapping that is JSON."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import ManifestError, clipped, cut, explain
from ..ground import launch
from ..ground.config import Config
from ..ground.seeds import numpy_seed, torch_seed
from ..ground.source import flat
from ..ground.tables import ShownByFirstLine, aligned
from ..sources.registry import described, in_effect
from . import code as programs
from . import machine
from . import packages as installed
from .data import digests
from .difference import ManifestDiff, differences
from .redact import redacted_text

SCHEMA = 1
"""Grows when a field changes its meaning; new fields alone do not make it grow."""

LARGEST = 16 * 2**20
"""Bytes of a file that is read."""

_TOLD_ELSEWHERE = ("versions.device", "versions.num_threads")
"""As "cpu.torch" and "gpu.names", and as a setting."""

_NO_STATES = (".initialized", ".queued")
"""What the sources of devices tell that is no state of a generator."""

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
            raise ManifestError(explain("the manifest cannot be written", (f"found: {error}",), remedy)) from error

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


def manifest(*, packages: bool = True, code: bool = True, data: Mapping[str, Any] | None = None) -> Manifest:
    """Return what ran here: all that is known to alter bits, for a file beside the results, and for `diff`.

    Seeds, flags, versions, builds, processor, GPU, threads, ranks, the program with its arguments and its commit, the
    packages that it uses. Of the environment the variables alone that affect numerics or seeds. What looks like a
    secret is taken out of arguments and variables; remotes of a repository are not looked at.

    Reads only; initialises no device, and asks no network. Calls git, each time for at most 5 s. The states of the
    generators are those of this moment. Thread-safe.

    Args:
        packages: Whether to list the imported packages with their versions, which takes about 100 ms.
        code: Whether to tell the commit, and the digest of the script.
        data: Data sets by name, to be read sample by sample for a digest each: with `__len__` and `__getitem__`; or
            tensors, arrays and containers of these.

    Returns:
        The manifest; print it, `write` it, or `diff` it with another.

    Raises:
        DeterministicError: A data set cannot be read, or a sample has no digest.

    Example:
        >>> from deterministic import manifest, reproducible
        >>> with reproducible(seed=7):
        ...     found = manifest(packages=False, code=False)
        >>> found.data["seed"], found.data["seed.numpy"], found.data["deterministic"]
        (7, 7, True)
    """
    entry = launch.innermost_entry()
    if entry is not None:
        found: Manifest = entry.run.manifest(packages=packages, code=code, data=data)
        return found
    facts = {"generators": None if launch.given_seed() is None else described("rng")}
    return of_scope(None, facts, packages=packages, code=code, data=data)


def of_scope(
    asked: Config | None,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    *,
    packages: bool,
    code: bool,
    data: Mapping[str, Any] | None,
) -> Manifest:
    """Return the manifest of a scope that asked for this, None for none; with settings other than those of now."""
    more = {name: value for name, value in flat(facts).items() if not name.endswith(_NO_STATES)}
    if facts.get("generators", ...) is None:
        more["reason.generators"] = "they were not seeded" if asked is None else "the scope is closed: they went back"
    slow = slow_facts(packages, code)
    return Manifest({**collected(asked, slow, settings), **_clean(more), **digests(data or {})})


def kept_manifest() -> dict[str, Any]:
    """Return the manifest of this moment for a trace or a checkpoint, which have the generators themselves.

    What takes long is looked up once in a process: the commit, the packages, the machine.
    """
    entry = launch.innermost_entry()
    return collected(None if entry is None else entry.config, _slow_once())


def collected(
    asked: Config | None, slow: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return all that is quickly told, for a scope that asked for this, and what was told before."""
    head = {"schema": SCHEMA, "created": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    instead = {} if settings is None else {"settings": settings}
    now = {name: value for name, value in flat({**in_effect(), **instead}).items() if name not in _TOLD_ELSEWHERE}
    quick = {**programs.program(), **_clean(now), **machine.process(), **machine.devices()}
    return {**head, **_seeds(asked), **quick, **slow}


def slow_facts(with_packages: bool = True, with_code: bool = True) -> dict[str, Any]:
    """Return what takes long to tell, or does not change while a process runs."""
    facts = {**machine.build(), **machine.processor(), **machine.system(), **machine.pools(), **installed.kernels()}
    if with_code:
        facts |= {**programs.script(), **programs.commit()}
    return {**facts, **(installed.imported() if with_packages else {})}


_slow_once = lru_cache(maxsize=1)(slow_facts)


def _seeds(asked: Config | None) -> dict[str, Any]:
    """Return the seed that all ranks share, what each library got of this rank's, and the level."""
    seed = launch.given_seed() if asked is None else asked.seed
    facts: dict[str, Any] = {"seed": seed, "deterministic": None, "seed.rank": seed}
    if asked is not None:
        facts |= {"seed": asked.common_seed, "deterministic": asked.deterministic}
    if seed is not None:
        facts |= {"seed.python": seed, "seed.numpy": numpy_seed(seed), "seed.torch": torch_seed(seed)}
    if (outer := launch.launched()) is not None:
        variables = [f"{name}={redacted_text(value)}" for name, value in sorted(outer.variables.items())]
        facts["launch"] = {name: getattr(outer, name) for name in ("seed", "deterministic", "num_threads")}
        facts["launch.variables"] = variables
    return flat(facts)


def _clean(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with variables of the environment as they may be told."""
    return {
        name: redacted_text(value) if "environment." in name and isinstance(value, str) else value
        for name, value in facts.items()
    }


# Files of others


def _content(path: _Path) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe may have no end, or nobody who writes
            raise _refusal(path, "it is no regular file")
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise _refusal(path, f"it has more than {LARGEST:,} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise _refusal(path, f"{error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(path, f"it is no text in UTF-8: {error.reason}, at byte {error.start}") from error


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
    return ManifestError(explain(f"{os.fspath(path)} cannot be read as a manifest", (f"found: {found}",), remedy))
