"""`reproducible.from_config`: mappings, files, and what is refused in them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from deterministic import describe, reproducible
from deterministic._from_config import options_from
from deterministic.errors import SeedError


def asked(config: Any, **overrides: Any) -> tuple[Any, Any, bool]:
    """Return the seed, the level and whether the scope is enabled."""
    options = options_from(config, overrides)
    return options["seed"], options["deterministic"], options.get("enabled", True)


def test_a_mapping() -> None:
    assert asked({"seed": 3, "deterministic": "warn", "lr": 0.1}) == (3, "warn", True)


def test_omegaconf() -> None:
    config = OmegaConf.create({"seed": 3, "deterministic": True, "out": "${missing}/x", "name": "???"})
    assert asked(config) == (3, True, True)


def test_a_missing_value_of_omegaconf_is_a_key_that_is_not_there() -> None:
    assert asked(OmegaConf.create({"seed": "???", "deterministic": True})) == (None, True, True)


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json", "YAML"])
@pytest.mark.parametrize("as_path", [Path, str])
def test_a_file(tmp_path: Path, suffix: str, as_path: Any) -> None:
    file = tmp_path / f"config.{suffix}"
    file.write_text(json.dumps({"seed": 7, "deterministic_cudnn": True, "name": "é"}), encoding="utf-8")
    assert asked(as_path(file)) == (7, "cudnn", True)


def test_a_file_in_the_words_of_yaml(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("seed: 0\ndeterministic: yes\nmodel:\n  depth: 3\n")
    assert asked(file) == (0, True, True)


def test_the_result_is_a_scope() -> None:
    with reproducible.from_config({"seed": 3}) as run:
        drawn = random.random()
    assert run.seed == 3
    assert run.deterministic is False
    assert drawn == random.Random(3).random()


def test_seed_zero_is_a_seed() -> None:
    assert asked({"seed": 0}) == (0, False, True)


def test_a_seed_without_a_level_leaves_the_flags_alone() -> None:
    assert asked({"seed": 3}) == (3, False, True)


@pytest.mark.parametrize("level", [False, "cudnn", True, "warn"])
def test_a_level_without_a_seed_seeds_nothing(level: Any) -> None:
    assert asked({"deterministic": level}) == (None, level, True)


def test_a_level_without_a_seed_leaves_the_generators_where_they_are() -> None:
    before = random.getstate()
    with reproducible.from_config({"deterministic": True}) as run:
        assert run.seed is None
        assert random.getstate() == before


@pytest.mark.parametrize("config", [{}, {"lr": 0.1}, {"seed": None}, {"deterministic": None, "seed": None}])
def test_with_neither_key_the_scope_does_nothing(config: dict[str, Any]) -> None:
    assert asked(config) == (None, False, False)
    with reproducible(seed=None, deterministic=False):
        before = describe()
        with reproducible.from_config(config) as run:
            assert describe() == before
            random.random()
        assert run.seed is None
        assert describe() != before, "a scope that is not enabled must not give back what was drawn in it"


def test_with_neither_key_a_decorated_function_is_the_function_itself() -> None:
    def function() -> None: ...

    assert reproducible.from_config({})(function) is function


@pytest.mark.parametrize(
    ("config", "level"),
    [
        ({"deterministic_cudnn": True}, "cudnn"),
        ({"deterministic_cudnn": False}, False),
        ({"deterministic_cudnn": True, "deterministic": True}, True),
        ({"deterministic_cudnn": True, "deterministic": "warn"}, "warn"),
        ({"deterministic_cudnn": True, "deterministic": "cudnn"}, "cudnn"),
        ({"deterministic_cudnn": True, "deterministic": False}, "cudnn"),
        ({"deterministic_cudnn": False, "deterministic": False}, False),
        ({"deterministic_cudnn": None, "deterministic": True}, True),
        ({"deterministic_cudnn": True, "deterministic": None}, "cudnn"),
    ],
)
def test_the_level_that_two_keys_ask_for(config: dict[str, Any], level: Any) -> None:
    assert asked(config) == (None, level, True)


@pytest.mark.parametrize("level", [True, "warn", "cudnn"])
def test_keys_that_contradict_each_other_are_refused(level: Any) -> None:
    with pytest.raises(ValueError, match="contradict each other"):
        reproducible.from_config({"deterministic": level, "deterministic_cudnn": False})


@pytest.mark.parametrize(
    ("misspelt", "value", "meant"),
    [
        ("sead", 1, "seed"),
        ("sede", 1, "seed"),
        ("Seed", 1, "seed"),
        ("SEED", 1, "seed"),
        ("determinstic", True, "deterministic"),
        ("deterministc", True, "deterministic"),
        ("Deterministic", True, "deterministic"),
        ("determinisitc_cudnn", True, "deterministic_cudnn"),
        ("deterministic-cudnn", True, "deterministic_cudnn"),
        ("deterministic_cuddn", True, "deterministic_cudnn"),
    ],
)
def test_a_misspelt_key_is_refused_in_three_lines(misspelt: str, value: Any, meant: str) -> None:
    with pytest.raises(ValueError, match="misspelt") as refused:
        reproducible.from_config({"lr": 0.1, misspelt: value})
    differs, *values, remedy = str(refused.value).splitlines()
    assert differs == "a key of the configuration looks misspelt, and would silently do nothing"
    assert values == [f"  found: {misspelt}", f"  known: {meant}"]
    assert remedy.startswith(f"Write {meant}")


@pytest.mark.parametrize("foreign", ["speed", "seeds", "need", "feed", "shard", "seed_worker", "deterministic_ops"])
@pytest.mark.parametrize("value", [1, True, "x", None, 0.5])
def test_a_key_of_somebody_elses_is_ignored(foreign: str, value: Any) -> None:
    assert asked({foreign: value}) == (None, False, False)


@pytest.mark.parametrize("foreign", ["send", "sand", "shed"])
@pytest.mark.parametrize("value", ["x", None, 0.5, True])
def test_a_word_close_to_seed_is_ignored_unless_its_value_could_be_a_seed(foreign: str, value: Any) -> None:
    assert asked({foreign: value}) == (None, False, False)


def test_a_key_that_is_no_string_is_ignored() -> None:
    assert asked({1: 2, None: 3, "seed": 4}) == (4, False, True)


@pytest.mark.parametrize("value", ["true", 1, 0, "warn", []])
def test_deterministic_cudnn_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="deterministic_cudnn is not a bool"):
        reproducible.from_config({"deterministic_cudnn": value})


@pytest.mark.parametrize("value", ["3", 3.0, True, [3]])
def test_a_seed_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(SeedError, match="seed is not an integer"):
        reproducible.from_config({"seed": value})


@pytest.mark.parametrize("value", ["yes", 1])
def test_a_level_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="names no level"):
        reproducible.from_config({"seed": 1, "deterministic": value})


def test_overrides_win() -> None:
    assert asked({"seed": 3, "deterministic": True}, seed=4, deterministic="cudnn") == (4, "cudnn", True)
    assert asked({"seed": 3}, seed=None) == (None, False, True)
    assert asked({}, seed=5) == (5, False, True)
    assert asked({}, deterministic="warn") == (None, "warn", True)
    assert asked({"seed": 3}, enabled=False) == (3, False, False)
    assert reproducible.from_config({"seed": 3}, num_threads=1)._config().num_threads == 1


def test_an_override_that_enables_wins_over_a_config_without_our_keys() -> None:
    assert asked({}, enabled=True) == (None, False, True)


def test_an_override_that_is_no_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="sed"):
        reproducible.from_config({"seed": 3}, sed=4)


@pytest.mark.parametrize("name", ["config.toml", "config", "config.yaml.bak"])
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("seed: 1")
    with pytest.raises(ValueError, match=r"\.yaml, \.yml or \.json"):
        reproducible.from_config(file)


@pytest.mark.parametrize("text", ["[1, 2]", "3", '"seed"'])
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path: Path, text: str, suffix: str) -> None:
    file = tmp_path / f"config.{suffix}"
    file.write_text(text)
    with pytest.raises(TypeError, match="holds no mapping"):
        reproducible.from_config(file)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reproducible.from_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("config", [None, 3, ["seed"], 1.5])
def test_what_is_neither_mapping_nor_path_is_refused(config: Any) -> None:
    with pytest.raises(TypeError):
        reproducible.from_config(config)
