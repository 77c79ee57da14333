"""The scopes of cells: which cell each belongs to, and when that one is over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Literal, NamedTuple

from IPython.core.error import UsageError

from ..errors import ScopeOrderWarning, warn
from ..scope import stack
from ..scope.entry import ScopeEntry, ScopeSite
from ..scope.interrupt import indivisible
from ..scope.ownership import current_owner
from ..scope.refusals import explain_refusal
from ..scope.request import Scope
from ..scope.run import Run


class _CellScope(NamedTuple):
    """A scope, the frame that runs the cell that it belongs to, and why it is open.

    That is `%reproducible on` ("each"), the first line of the cell, or a cell given as text within it ("part").
    """

    entry: ScopeEntry
    cell: FrameType
    kind: Literal["each", "cell", "part"]


class CellScopes:
    """The open scopes of a shell's cells."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._opened: list[_CellScope] = []
        self._custom_tb: Callable[..., Any] | None = None
        self.latest: Run | None = None  # the run of the scope that was opened last

    @indivisible
    def enter(self, scope: Scope, kind: Literal["each", "cell", "part"] = "cell") -> _CellScope:
        """Enter a scope that is closed when the innermost cell is over: one of each kind, and any number of parts."""
        cells = _running_cells()
        if not cells:
            raise UsageError("%%reproducible works in a cell; elsewhere use `with reproducible(...):`.")
        cell = cells[0]
        for opened in reversed(self._opened):
            if opened.cell is cell and opened.kind == kind != "part":
                self._close(opened)  # %%timeit runs its body, and the line that enters, again and again
        # The task stays the owner: a cell runs in one, and what others enter meanwhile would end in another order.
        entry = scope.enter(self._site())
        opened = _CellScope(entry, cell, kind)
        self._opened.append(opened)
        self.latest = entry.run
        if not self._shell.custom_exceptions:  # a handler of the user's own stays
            self._shell.set_custom_exc((RuntimeError,), _show_explained)
            self._custom_tb = self._shell.CustomTB
        return opened

    @contextmanager
    def opened(self, scope: Scope) -> Iterator[None]:
        """Enter a scope for a part of a cell."""
        opened = self.enter(scope, "part")
        try:
            yield
        finally:
            self._close(opened)

    @indivisible
    def close_ended(self) -> bool:
        """Close the scopes of this thread's cells that are over; return whether there were any.

        A cell is over when it is not on the stack of calls. One that runs another cell is; one that awaits is not,
        while a task that it started runs another cell, but its own task is not done.
        """
        running, me = _running_cells(), current_owner()
        ended = [
            opened
            for opened in self._opened
            if opened.cell not in running
            and (owner := opened.entry.owner).life is me.life
            and (owner.task is None or owner.task is me.task or owner.task.done())
        ]
        self.close_all(ended)
        return bool(ended)

    def close_left(self) -> None:
        """Close, before a cell, what an earlier one has left: after Ctrl-C at its very end, or without post_execute."""
        if self.close_ended():
            warn(
                ScopeOrderWarning,
                "the scope of an earlier cell was still open; it has now been closed",
                ("found: no post_execute event after that cell",),
                "What ran in between drew from that scope: run it again if it matters.",
            )

    def close_all(self, some: list[_CellScope] | None = None) -> None:
        """Close some scopes, by default every one, also those of cells that go on."""
        with ExitStack() as closing:  # the innermost first, and one that fails does not keep the others open
            for opened in list(self._opened) if some is None else some:
                closing.callback(self._close, opened)

    def is_in_each(self) -> bool:
        """Return whether a cell that is running has a scope by `%reproducible on`."""
        running = _running_cells()
        return any(opened.kind == "each" and opened.cell in running for opened in self._opened)

    @indivisible
    def _close(self, opened: _CellScope) -> None:
        if opened not in self._opened:
            return
        self._opened.remove(opened)
        if not self._opened and self._custom_tb is not None:
            if self._shell.CustomTB is self._custom_tb:
                self._shell.set_custom_exc((), None)
            self._custom_tb = None
        stack.leave(opened.entry)

    def _site(self) -> ScopeSite:
        """Return the first line of the innermost cell, which is called what IPython's tracebacks call it."""
        caller = frame = sys._getframe(1)
        while frame.f_back is not None:
            frame = frame.f_back
            spoken = self._shell.compile.format_code_name(frame.f_code.co_filename)
            if spoken is not None:
                return ScopeSite(frame.f_code.replace(co_filename=" ".join(spoken)), 1, id(frame))
        return ScopeSite(caller.f_code, caller.f_lineno, id(caller))


def _running_cells() -> list[FrameType]:
    """Return the frames that run the cells of this thread, the innermost first.

    Not a generator: an interrupt that is raised while one is collected is lost.
    """
    frames = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "run_cell_async":
            frames.append(frame)
        frame = frame.f_back
    return frames


def _show_explained(shell: Any, _: type[BaseException], error: BaseException, traceback: Any, tb_offset: Any) -> None:
    """Show an error of a cell as IPython does, with the way out if it is the refusal of an operation.

    A `with` block adds that when the error passes it; the error of a cell is shown before its scope is closed.
    """
    explain_refusal(error)
    shell.showtraceback((type(error), error, traceback), tb_offset=tb_offset, running_compiled_code=True)
