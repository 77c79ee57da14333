"""Cells run in a shell of this process, and in a real kernel."""

from __future__ import annotations

import ast
import asyncio
import random
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config


def new_shell() -> Any:
    """Return a shell that remembers nothing and colours nothing."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell: Any = InteractiveShell
    return shell(config=config)


def drawn(seed: int) -> float:
    return random.Random(seed).random()


def run_in(shell: Any, cell: str, **options: Any) -> Any:
    """Run a cell, which must not fail; return what it shows."""
    result = shell.run_cell(cell, **options)
    result.raise_error()
    return result.result


nodes: Any = nbformat.v4


class Ran:
    """A cell that has run.

    Attributes:
        errors: The names of the errors that it showed, with their tracebacks.
        stopped: Whether nbclient would go no further.
    """

    def __init__(self, cell: Any, *, stopped: bool) -> None:
        self.stopped = stopped
        self.errors = [(out.ename, "\n".join(out.traceback)) for out in cell.outputs if out.output_type == "error"]
        self._cell = cell

    def text(self, name: str = "stdout") -> str:
        """Return what it wrote."""
        return "".join(out.text for out in self._cell.outputs if out.output_type == "stream" and out.name == name)

    def shown(self, mime: str = "text/plain") -> str:
        """Return what it shows as its value."""
        (found,) = [out for out in self._cell.outputs if out.output_type == "execute_result"]
        text: str = found.data[mime]
        return text

    @property
    def outputs(self) -> list[str]:
        """The kinds of its outputs."""
        return [out.output_type for out in self._cell.outputs]


class Kernel:
    """A real kernel, driven by nbclient."""

    def __init__(self, client: NotebookClient) -> None:
        self._client = client

    def run(self, source: str) -> Ran:
        """Run a cell."""
        cell = nodes.new_code_cell(source)
        self._client.nb.cells.append(cell)
        try:
            self._client.execute_cell(cell, len(self._client.nb.cells) - 1)
        except CellExecutionError:
            return Ran(cell, stopped=True)
        return Ran(cell, stopped=False)

    def value(self, source: str) -> Any:
        """Run a cell, which must not fail, and return the value of its last expression, a literal."""
        ran = self.run(source)
        assert not ran.errors, ran.errors
        assert not ran.stopped, ran.text("stderr")
        return ast.literal_eval(ran.shown())

    def run_interrupted(self, source: str, started: Path) -> Ran:
        """Run a cell, and interrupt the kernel once the cell has made the file `started`."""

        def interrupt() -> None:
            while not started.exists():
                time.sleep(0.02)
            time.sleep(0.1)
            manager: Any = self._client.km
            asyncio.run(manager.interrupt_kernel())

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            return self.run(source)
        finally:
            thread.join(timeout=60)
