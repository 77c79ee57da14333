"""What was asked for: by a marker, in the ini file, on the command line. Refused before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ..errors import explain
from ..ground.config import LEVEL_NAMES
from ..ground.seeds import validate_seed

MARKER = "reproducible"
RUN_FIXTURE = "reproducible_run"

ATTRIBUTE = "reproducible_check"
"""The attribute of a report with the outcome of a comparison and its text; plain, since it may come from a worker."""

ARGUMENTS = ("seed", "deterministic", "num_threads", "entropy", "enabled")
"""What the marker takes, as `reproducible` does."""


@dataclass(frozen=True)
class PluginOptions:
    """What holds for the whole session."""

    defaults: Mapping[str, Any]  # the arguments that a marker does not give, from the ini file
    check: int | None  # how often each marked test runs, to compare; None: once, as ever
    leaks: bool  # whether a test that leaves a setting changed fails

    @property
    def every(self) -> bool:
        """Whether every test is under control, because the ini file gives a seed."""
        return "seed" in self.defaults


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `options_of` reads, on the command line and in the ini file."""
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
        help="Fail a test that leaves a flag or a variable changed or a scope open, and name it.",
    )
    # Text, because pytest's own type for integers is younger than the oldest pytest that this supports.
    parser.addini(
        "reproducible_seed",
        "Seed of every test whose marker gives none, and of every test without one (default: they have none).",
    )
    parser.addini("reproducible_deterministic", "Level where no marker says: true (default), warn, cudnn or false.")


def options_of(config: pytest.Config) -> PluginOptions:
    """Return what was asked for the session; a UsageError says that a value has no meaning."""
    seed, level = config.getini("reproducible_seed"), config.getini("reproducible_deterministic")
    check = config.getoption("reproducible_check")
    defaults: dict[str, Any] = {}
    if seed != "":
        try:
            defaults["seed"] = validate_seed(int(seed) if isinstance(seed, str) else seed)
        except ValueError as error:  # SeedError is one
            raise _refusal(
                "the ini option reproducible_seed is not a seed",
                (f"found: {seed!r}", "expected: an integer, 0 <= seed < 2**64"),
                "Write reproducible_seed = 42, or leave it out to control only marked tests.",
            ) from error
    if level != "":
        name = str(level).strip().lower()
        if name not in LEVEL_NAMES:
            raise _refusal(
                "the ini option reproducible_deterministic is not a level",
                (f"found: {level!r}", f"expected: {', '.join(LEVEL_NAMES)}"),
                "Write reproducible_deterministic = true.",
            )
        defaults["deterministic"] = LEVEL_NAMES[name]
    if check is not None and check < 2:
        raise _refusal(
            "one run has nothing to be compared with",
            (f"found: --reproducible-check={check}", "expected: 2 or more"),
            "Pass --reproducible-check=2.",
        )
    return PluginOptions(defaults, check, bool(config.getoption("reproducible_leaks")))


def arguments_of(node: pytest.Item | pytest.Collector, options: PluginOptions) -> dict[str, Any] | None:
    """Return the arguments for `reproducible` of a test, or of what collects tests; None if nothing is asked of it.

    The closest marker wins whole: of a class's marker nothing is taken over by that of its method. A UsageError says
    that one of its arguments has no meaning.
    """
    mark = node.get_closest_marker(MARKER)
    if mark is not None:
        return {**options.defaults, **_arguments(mark, node.nodeid)}
    if options.every or RUN_FIXTURE in getattr(node, "fixturenames", ()):
        return dict(options.defaults)
    return None


def validate_markers(item: pytest.Item) -> None:
    """Refuse, by a UsageError, what is wrong with any marker of a test, also with one that a closer one hides."""
    for node, mark in item.iter_markers_with_node(MARKER):
        _arguments(mark, item.nodeid if node is item else f"{item.nodeid}, from {node.nodeid}")


def _arguments(mark: pytest.Mark, where: str) -> dict[str, Any]:
    if not set(mark.kwargs) <= set(ARGUMENTS) or len(mark.args) > 1 or (mark.args and "seed" in mark.kwargs):
        shown = ", ".join([*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())])
        raise _refusal(
            f"{where}: the marker takes other arguments",
            (f"found: reproducible({shown})", f"expected: {', '.join(ARGUMENTS)}"),
            "Write, for example, @pytest.mark.reproducible(seed=42, deterministic=True).",
        )
    from ..scope.reproducible import reproducible

    arguments = {**dict(zip(("seed",), mark.args, strict=False)), **mark.kwargs}
    try:
        reproducible(**arguments)
    except (TypeError, ValueError) as error:  # SeedError is one
        raise pytest.UsageError(f"{where}: {error}") from error
    return arguments


def _refusal(differs: str, values: tuple[str, ...], remedy: str) -> pytest.UsageError:
    return pytest.UsageError(explain(differs, values, remedy))
