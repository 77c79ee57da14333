"""The names of the module itself: what is said of one that it does not have, and what completion shows."""

from __future__ import annotations

import importlib
import inspect

import pytest

import deterministic

from .processes import run_python


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("set_seed", "seed_everything(42)"),
        ("seed_all", "seed_everything(42)"),
        ("manual_seed", "seed_everything(42)"),
        ("DataLoader", "make_loader(dataset, batch_size=32, shuffle=True)"),
        ("use_deterministic_algorithms", "reproducible(seed=42, deterministic=True)"),
        ("verify_reproducibility", "verify(train, runs=3)"),
        ("isolate_rng", "reproducible(seed=42)"),
        ("worker_init_fn", "seed_worker"),
        ("reproducable", "reproducible"),
    ],
)
def test_a_name_of_another_library_is_told_as_what_it_is_here(name: str, call: str) -> None:
    text = f"module 'deterministic' has no attribute '{name}'; write deterministic.{call}"
    with pytest.raises(AttributeError) as error:
        getattr(deterministic, name)
    assert str(error.value) == text
    with pytest.raises(ImportError) as not_imported:
        exec(f"from deterministic import {name}", {})
    assert str(not_imported.value) == text
    assert inspect.isfunction(getattr(deterministic, call.partition("(")[0])) or call.startswith("reproducible")


def test_another_name_is_told_as_by_python() -> None:
    assert not hasattr(deterministic, "nonsense")
    with pytest.raises(AttributeError, match=r"^module 'deterministic' has no attribute 'nonsense'$"):
        deterministic.nonsense  # noqa: B018


def test_completion_shows_the_public_names_alone() -> None:
    importlib.import_module("deterministic.scope.reproducible")
    assert dir(deterministic) == sorted([*deterministic.__all__, "errors", "testing"])


def test_the_public_modules_are_there_without_an_import_of_their_own() -> None:
    code = "import deterministic, sys; deterministic.errors.SeedError; assert 'torch' not in sys.modules\n"
    run_python(code + "deterministic.testing.check_source")
