"""Modules that take long to import, where they are first used: each worker of the suite collects all, and runs some."""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """A module of that name, imported with the first attribute that is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith(("_", "pytest")):  # pytest asks everything in a file for such, to find tests
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
