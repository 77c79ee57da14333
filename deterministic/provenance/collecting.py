"""`manifest`: everything that is known to alter the bits of a run, as one flat mapping that is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from ..ground import launch
from ..ground.config import Config
from ..ground.seeds import numpy_seed, torch_seed
from ..ground.source import flat
from ..sources.registry import described, in_effect
from . import code as programs
from . import machine
from . import packages as installed
from .data import digests
from .manifest import SCHEMA, Manifest
from .reasons import told
from .redact import redacted_text

_TOLD_ELSEWHERE = ("versions.device", "versions.num_threads")
"""As "cpu.torch" and "gpu.names", and as a setting."""

_NO_STATES = (".initialized", ".queued")
"""What the sources of devices tell that is no state of a generator."""


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
    now |= told({"versions.deterministic": now["versions.deterministic"]}, "its metadata is broken")
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
