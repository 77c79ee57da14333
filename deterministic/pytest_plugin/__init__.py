"""The pytest plugin: `@pytest.mark.reproducible`, `reproducible_run`, `--reproducible-check`, `--reproducible-leaks`.

Importing it imports neither torch nor numpy; the first test that is marked does.
"""

from __future__ import annotations

from .arguments import pytest_addoption
from .hooks import (
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_fixture_setup,
    pytest_runtest_call,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_runtest_teardown,
    reproducible_run,
    seed_torch,
)

__all__ = [
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_fixture_setup",
    "pytest_runtest_call",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "reproducible_run",
    "seed_torch",
]
