"""What the tests of compiled code share: a backend that counts, and inductor in a process of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .processes import run_python

needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")


class Counting:
    """A backend that runs graphs as they are, and counts what it compiles and how often that runs."""

    def __init__(self) -> None:
        self.graphs = self.runs = 0

    def __call__(self, graph: Any, example_inputs: Any) -> Callable[..., Any]:
        self.graphs += 1

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return graph.forward(*arguments)

        return run


def run_inductor(code: str, cache: Path) -> str:
    """Run code that compiles with inductor, and return what it printed.

    Whether the compiler knows the processor's instructions is not tried out, which takes longer than all of the rest.
    """
    settings = {"CACHE_DIR": str(cache), "COMPILE_THREADS": "1", "VEC_ISA_OK": "1"}
    variables = {f"TORCHINDUCTOR_{name}": value for name, value in settings.items()}
    return run_python(code, OMP_NUM_THREADS="1", **variables)
