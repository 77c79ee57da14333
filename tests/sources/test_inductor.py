"""torch.compile's configuration, imported before, inside or after a scope; most tests use a stand-in for its module."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest

from deterministic.ground.config import Config, Level
from deterministic.ground.source import NOTHING
from deterministic.sources.inductor import Inductor, NotImported
from deterministic.testing import check_source

from ..processes import run_python
from ..versions import needs_deterministic_inductor

NAME = "torch._inductor.config"
FOUND = {
    "deterministic": False,
    "max_autotune": True,
    "max_autotune_gemm": False,
    "max_autotune_pointwise": True,
    "coordinate_descent_tuning": False,
    "fallback_random": False,
}
AIMED = {**dict.fromkeys(FOUND, False), "deterministic": True}


class StandIn(ModuleType):
    """Has the options of `torch._inductor.config` that a test gives it."""

    max_autotune: bool
    fallback_random: bool

    def __init__(self, **options: bool) -> None:
        super().__init__(NAME)
        vars(self).update(options)
        self._config = options

    def options(self) -> dict[str, bool]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Inductor:
    """A source of its own, while the module is not imported; the tests call its hook themselves."""
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    inductor = Inductor()
    inductor._watching = True
    return inductor


@pytest.fixture
def imported(source: Inductor, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn(**FOUND)
    monkeypatch.setitem(sys.modules, NAME, module)
    return module


@pytest.mark.parametrize("level", [True, "warn"])
def test_once_imported_the_level_sets_the_deterministic_mode_and_no_autotuning(
    level: Level, source: Inductor, imported: StandIn
) -> None:
    state = source.capture()
    applied = source.apply(Config(None, level)).values
    assert imported.options() == AIMED
    assert {**FOUND, **applied} == AIMED
    imported.fallback_random = True
    source.restore(state)
    assert imported.options() == FOUND


@pytest.mark.parametrize("level", [False, "cudnn"])
def test_lower_levels_leave_it_alone(level: Level, source: Inductor, imported: StandIn) -> None:
    assert source.apply(Config(3, level)) is NOTHING
    assert imported.options() == FOUND


def test_while_it_is_not_imported_it_stays_so_and_what_it_would_hold_is_described(
    source: Inductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE", "1")
    monkeypatch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE_POINTWISE", "1")
    assert source.apply(Config(None, False)) is NOTHING
    assert source.describe(source.capture()) == FOUND
    source.apply(Config(None, True))
    assert source.describe(source.capture()) == AIMED
    assert NAME not in sys.modules


def test_the_description_is_json_of_every_option(source: Inductor, imported: StandIn) -> None:
    assert json.loads(json.dumps(source.describe(source.capture()))) == FOUND
    imported.fallback_random = True
    source.apply(Config(None, True))
    assert source.describe(source.capture()) == {**AIMED, "fallback_random": True}


def imports(source: Inductor, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Import the module now: the import system calls the hook."""
    module = StandIn(**FOUND)
    monkeypatch.setitem(sys.modules, NAME, module)
    source._imported_now(module)
    return module


def test_imported_inside_it_gets_the_level_and_afterwards_what_it_had_at_import(
    source: Inductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = source.capture()
    source.apply(Config(None, True))
    module = imports(source, monkeypatch)
    assert module.options() == AIMED
    module.fallback_random = True
    source.restore(before)
    assert module.options() == FOUND


def test_imported_outside_it_gets_nothing(source: Inductor, monkeypatch: pytest.MonkeyPatch) -> None:
    before = source.capture()
    source.apply(Config(None, True))
    source.restore(before)
    assert imports(source, monkeypatch).options() == FOUND


def test_imported_in_an_inner_scope_it_has_the_outer_scopes_level_after_it(
    source: Inductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = source.capture()
    source.apply(Config(None, True))
    between = source.capture()
    source.apply(Config(None, "warn"))
    module = imports(source, monkeypatch)
    module.max_autotune = True
    source.restore(between)
    assert module.options() == AIMED
    source.restore(outside)
    assert module.options() == FOUND


def test_a_module_whose_import_is_not_complete_counts_as_not_imported(
    source: Inductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, NAME, ModuleType(NAME))
    source.apply(Config(None, True))
    assert source.capture() == NotImported(armed=True)


def test_a_module_that_was_removed_again_is_no_error(
    source: Inductor, imported: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = source.capture()
    monkeypatch.delitem(sys.modules, NAME)
    source.restore(state)
    assert imported.options() == FOUND


def test_an_option_that_this_torch_lacks_is_neither_set_nor_reported(source: Inductor, imported: StandIn) -> None:
    del imported.deterministic
    state = source.capture()
    applied = source.apply(Config(None, True))
    assert not hasattr(imported, "deterministic")
    assert imported.max_autotune is False
    source.restore(state)
    assert imported.options() == {name: value for name, value in FOUND.items() if name != "deterministic"}
    assert "deterministic" not in applied.values


@pytest.mark.usefixtures("imported")
def test_imported_it_keeps_the_contract_of_a_source(source: Inductor) -> None:
    check_source(source)


def test_not_imported_it_keeps_the_contract_of_a_source(source: Inductor) -> None:
    check_source(source)


REAL = """
import json, sys
from deterministic import describe, reproducible
NAME = "torch._inductor.config"
seen = {}
def see(moment):
    config = sys.modules[NAME]
    seen[moment] = [config.deterministic, config.max_autotune, config.fallback_random]
def described():
    return describe()["torch.inductor"]
outside = described()
with reproducible(0, deterministic=False):
    assert described() == outside
    with reproducible(0):
        inside = described()
        assert NAME not in sys.modules, "entering imported it"
        import torch._inductor.config as config
        assert described() == inside != outside
        see("imported inside")
        config.fallback_random = True
    see("in the outer scope")
    with reproducible(0):
        see("entered again")
        config.max_autotune = True
    see("left again")
see("outside")
assert described() == outside
print(json.dumps(seen))
"""


@needs_deterministic_inductor
def test_the_real_module_imported_inside_of_a_scope() -> None:
    options = {
        f"TORCHINDUCTOR_{name.upper()}": "1" for name in FOUND if name not in ("deterministic", "fallback_random")
    }
    found: dict[str, Any] = json.loads(run_python(REAL, **options))
    assert found["imported inside"] == found["entered again"] == [True, False, False]
    assert found["in the outer scope"] == found["left again"] == found["outside"] == [False, True, False]
