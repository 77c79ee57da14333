"""A function with its arguments on the way to another process, as `multiprocessing` sends them with "spawn"."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Mapping
from multiprocessing import process, spawn
from typing import Any

from ..errors import DeterministicError, explain
from .tasks import FunctionTask

_NOT_SENT = ("name", "authkey", "start_method")
"""Of what `multiprocessing` prepares a process with: this one is no worker of its."""


def pickled(task: FunctionTask, preparation: Mapping[str, Any]) -> bytes:
    """Return a function and its arguments as bytes; the function is the name that it can be imported by.

    Args:
        task: The function and its arguments.
        preparation: What `prepared` returned: whether there is a main module to import it from.

    Raises:
        TypeError: It cannot be imported, or an argument cannot be pickled.
    """
    try:
        function = pickle.dumps(task.function)
    except Exception as error:
        raise _not_importable(task, f"{type(error).__name__}: {error}") from error
    has_main = any(name.startswith("init_main_from") for name in preparation)
    if not has_main and b"__main__" in function:
        raise _not_importable(task, "it is defined in a main module that has no file") from None
    try:
        return pickle.dumps(task)
    except Exception as error:  # pickling calls the objects' own methods, which may raise anything
        raise TypeError(
            explain(
                "an argument cannot be sent to a fresh interpreter",
                (f"function: {task.title}", f"found: {type(error).__name__}: {error}"),
                "Pass what can be pickled, make it inside the function, or leave isolate and stress out.",
            )
        ) from error


def prepared() -> dict[str, Any]:
    """Return what `multiprocessing.spawn.prepare` needs to import the main module in another process.

    Raises:
        DeterministicError: This is such a process, which is importing it.
    """
    if getattr(process.current_process(), "_inheriting", False):
        raise DeterministicError(
            explain(
                "verify was called while a fresh interpreter imports the main module",
                (f"found: {getattr(sys.modules['__main__'], '__file__', None) or 'a main module without a file'}",),
                'Put the call under `if __name__ == "__main__":`, as for multiprocessing.',
            )
        )
    method = multiprocessing.get_start_method(allow_none=True)
    found = {name: value for name, value in spawn.get_preparation_data("").items() if name not in _NOT_SENT}
    if method is None:
        # Being asked for has settled it, and the user's own set_start_method() would be refused.
        multiprocessing.set_start_method(None, force=True)
    if not os.path.isfile(found.get("init_main_from_path", __file__)):  # "<stdin>"
        del found["init_main_from_path"]
    return found


def _not_importable(task: FunctionTask, why: str) -> TypeError:
    return TypeError(
        explain(
            "a fresh interpreter cannot import this function",
            (f"function: {task.title}", f"found: {why}"),
            "Define it in a file, at its top level, or leave isolate and stress out.",
        )
    )
