"""The magics `%%reproducible` and `%reproducible`, and how they come into a shell and out of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from .cells import CellScopes
from .code import EACH, ENTER, NAME, EachCell, FirstLine, run_body, scope_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ..scope.report import ScopeReport
    from ..scope.request import Scope


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register `%%reproducible` and `%reproducible`: what `%load_ext deterministic` calls. Once, however often."""
    if _loaded(shell) is None:
        Extension(shell).load()


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Close what they have open and remove them: what `%unload_ext deterministic` calls."""
    extension = _loaded(shell)
    if extension is not None:
        extension.unload()


class Extension:
    """What one shell has of this library."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._scopes = CellScopes(shell)
        self._first_line = FirstLine()
        self._each_cell = EachCell(self._needs_each)
        self._each: Scope | None = None
        self._each_options = ""
        self._magics: list[tuple[str, str, Callable[..., object]]] = [
            ("line", NAME, self.reproducible),
            ("cell", NAME, self.reproducible),
            ("line", ENTER, self._enter_cell),
            ("line", EACH, self._enter_each),
        ]

    def load(self) -> None:
        """Register the magics, and what rewrites a cell and notices its end."""
        for kind, name, function in self._magics:
            self._shell.register_magic_function(function, kind, name)
        # Not post_run_cell, which is not told of a silent cell.
        self._shell.events.register("pre_execute", self._scopes.close_left)
        self._shell.events.register("post_execute", self._scopes.close_ended)
        self._shell.input_transformers_cleanup.append(self._first_line)
        self._shell.ast_transformers.append(self._each_cell)

    def unload(self) -> None:
        """Close what is open, and remove everything that `load` registered."""
        self._scopes.close_all()
        for kind, name, function in self._magics:
            if self._shell.magics_manager.magics[kind].get(name) == function:
                del self._shell.magics_manager.magics[kind][name]
        self._shell.events.unregister("pre_execute", self._scopes.close_left)
        self._shell.events.unregister("post_execute", self._scopes.close_ended)
        self._shell.input_transformers_cleanup.remove(self._first_line)
        self._shell.ast_transformers.remove(self._each_cell)

    def reproducible(self, line: str, cell: str | None = None) -> ScopeReport | None:
        """Run this cell, or every cell, under `deterministic.reproducible(...)`.

        As the first line of a cell, which then starts from the seed, and gives everything back at its end::

          %%reproducible [--seed N] [--deterministic LEVEL] [--num-threads N]

        As a line::

          %reproducible on [the same options]   from the next cell on, every cell is a scope of its own, from the seed
          %reproducible off                     no longer
          %reproducible                         say whether it is on
          %reproducible report                  what the scope of this cell, else the latest one, set and could not

        Options:
          --seed N               0 <= N < 2**64, or none: give everything back, seed nothing. Omitted: the seed of the
                                 enclosing scope, else 42
          --deterministic LEVEL  true (default): deterministic algorithms, an operation without one raises; warn: it
                                 warns; cudnn: cuDNN alone; false: nothing but the seeds
          --num-threads N        threads that torch uses for one CPU operation

        `$name` and `{expression}` are replaced, as in every magic. `deterministic.current_run()` is the cell's run.
        """
        if cell is not None:
            with self._scopes.opened(scope_of(line)):
                run_body(self._shell, cell)
            return None
        action, _, options = line.strip().partition(" ")
        if action == "on":
            self._each, self._each_options = scope_of(options), options.strip()
        elif options or action not in ("", "off", "report"):
            raise UsageError(
                f"%{NAME} takes on [options], off, report, or nothing; found: {line.strip()}. "
                f"To run one cell under a scope, make its first line %%{NAME} [options]."
            )
        elif action == "report":
            if self._scopes.latest is None:
                raise UsageError(f"no cell has run under a scope yet; make the first line of one %%{NAME}.")
            return self._scopes.latest.report()
        elif action == "off":
            self._each = None
        state = (
            f"off: a cell runs under a scope if its first line is %%{NAME}"
            if self._each is None
            else f"on: every later cell runs as with %%{NAME} {self._each_options}".rstrip()
        )
        sys.stdout.write(f"{NAME} is {state}\n")
        return None

    def _enter_cell(self, line: str) -> None:
        """Enter the scope of this cell: what the first line `%%reproducible` is rewritten into."""
        self._scopes.enter(scope_of(line))

    def _enter_each(self, _: str) -> None:
        """Enter the scope that every cell has after `%reproducible on`."""
        if self._each is not None and self._needs_each():
            self._scopes.enter(self._each, "each")

    def _needs_each(self) -> bool:
        return self._each is not None and not self._scopes.is_in_each()


def _loaded(shell: Any) -> Extension | None:
    extension: Extension | None = getattr(shell.magics_manager.magics["line"].get(ENTER), "__self__", None)
    return extension
