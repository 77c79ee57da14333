"""What was asked for: by a marker, in the ini file, on the command line. Refused before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ..errors import SeedError, explain
from ..ground.config import LEVEL_NAMES, Level, validate_level, validate_num_threads
from ..ground.seeds import validate_seed

MARKER = "reproducible"
RUN_FIXTURE = "reproducible_run"

ARGUMENTS = ("seed", "deterministic", "num_threads", "enabled")
"""What the marker takes, as `reproducible` does."""


@dataclass(frozen=True)
class Settings:
    """What holds for the whole session.

    Attributes:
        defaults: The arguments that a marker does not give, from the ini file.
        every: Whether every test is under control, because the ini file gives a seed.
        check: How often each marked test runs, to compare; None: once, as ever.
        leaks: Whether a test that leaves a source changed fails.
    """

    defaults: Mapping[str, Any]
    every: bool
    check: int | None
    leaks: bool


def add_options(parser: pytest.Parser) -> None:
    """Add what `settings_of` reads."""
    group = parser.getgroup("deterministic", "the same bits every time")
    group.addoption(
        "--reproducible-check",
        metavar="N",
        type=int,
        default=None,
        help="Run each marked test N times, and fail it with the operation that differs first if the bits differ.",
    )
    group.addoption(
        "--reproducible-leaks",
        action="store_true",
        help="Fail a test that leaves a flag, a variable or a generator changed, and name it.",
    )
    # Text, because pytest's own type for integers is younger than the oldest pytest that this supports.
    parser.addini(
        "reproducible_seed",
        "Seed of every test whose marker gives none, and of every test without one (default: they have none).",
    )
    parser.addini("reproducible_deterministic", "Level where no marker says: true (default), warn, cudnn or false.")


def settings_of(config: pytest.Config) -> Settings:
    """Return what was asked for the session.

    Raises:
        pytest.UsageError: A value has no meaning.
    """
    seed, level = config.getini("reproducible_seed"), config.getini("reproducible_deterministic")
    check = config.getoption("reproducible_check")
    defaults: dict[str, Any] = {}
    if seed != "":
        defaults["seed"] = _seed_of(seed)
    if level != "":
        defaults["deterministic"] = _level_of(level)
    if check is not None and check < 2:
        raise pytest.UsageError(
            explain(
                "one run has nothing to be compared with",
                (f"found: --reproducible-check={check}", "expected: 2 or more"),
                "Pass --reproducible-check=2.",
            )
        )
    return Settings(defaults, "seed" in defaults, check, bool(config.getoption("reproducible_leaks")))


def arguments_of(node: pytest.Item | pytest.Collector, settings: Settings) -> dict[str, Any] | None:
    """Return the arguments for `reproducible` of a test, or of what collects tests; None if nothing is asked of it.

    The closest marker wins whole: of a class's marker nothing is taken over by that of its method.

    Raises:
        pytest.UsageError: The marker has an argument that has no meaning.
    """
    mark = node.get_closest_marker(MARKER)
    if mark is not None:
        return {**settings.defaults, **_arguments(mark, node.nodeid)}
    if settings.every or RUN_FIXTURE in getattr(node, "fixturenames", ()):
        return dict(settings.defaults)
    return None


def validate_markers(item: pytest.Item) -> None:
    """Refuse what is wrong with any marker of a test, also with one that a closer one hides.

    Raises:
        pytest.UsageError: An argument has no meaning.
    """
    for node, mark in item.iter_markers_with_node(MARKER):
        _arguments(mark, item.nodeid if node is item else f"{item.nodeid}, from {node.nodeid}")


def _arguments(mark: pytest.Mark, where: str) -> dict[str, Any]:
    given = dict(mark.kwargs)
    unknown = [name for name in given if name not in ARGUMENTS]
    if unknown or len(mark.args) > 1 or (mark.args and "seed" in given):
        found = ", ".join([*map(repr, mark.args), *(f"{name}={value!r}" for name, value in given.items())])
        raise pytest.UsageError(
            explain(
                f"{where}: the marker takes other arguments",
                (f"found: reproducible({found})", f"expected: {', '.join(ARGUMENTS)}"),
                "Write, for example, @pytest.mark.reproducible(seed=42, deterministic=True).",
            )
        )
    if mark.args:
        given["seed"] = mark.args[0]
    try:
        if given.get("seed") is not None:
            given["seed"] = validate_seed(given["seed"])
        validate_level(given.get("deterministic", True))
        validate_num_threads(given.get("num_threads"))
    except (SeedError, TypeError, ValueError) as error:
        raise pytest.UsageError(f"{where}: {error}") from error
    if not isinstance(given.get("enabled", True), bool):
        raise pytest.UsageError(
            explain(
                f"{where}: enabled is not a bool",
                (f"found: {given['enabled']!r}", "expected: True or False"),
                "Write enabled=False for a test that is not to be controlled.",
            )
        )
    return given


def _seed_of(text: Any) -> int:
    try:
        return validate_seed(int(text) if isinstance(text, str) else text)
    except ValueError as error:  # SeedError is one
        raise pytest.UsageError(
            explain(
                "the ini option reproducible_seed is no seed",
                (f"found: {text!r}", "expected: an integer, 0 <= seed < 2**64"),
                "Write reproducible_seed = 42, or leave it out to control marked tests alone.",
            )
        ) from error


def _level_of(text: Any) -> Level:
    level = LEVEL_NAMES.get(str(text).strip().lower())
    if level is None:
        raise pytest.UsageError(
            explain(
                "the ini option reproducible_deterministic names no level",
                (f"found: {text!r}", f"expected: {', '.join(LEVEL_NAMES)}"),
                "Write reproducible_deterministic = true.",
            )
        )
    return level
