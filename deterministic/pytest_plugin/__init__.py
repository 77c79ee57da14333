"""The pytest plugin: `@pytest.mark.reproducible`, `reproducible_run`, `--reproducible-check`, `--reproducible-leaks`.

Importing it imports neither torch nor numpy; the first test that is marked does.
"""

from __future__ import annotations

from .arguments import pytest_addoption
from .hooks import pytest_configure, reproducible_run, seed_torch

__all__ = ["pytest_addoption", "pytest_configure", "reproducible_run", "seed_torch"]
