"""`reproducible.from_config`: mappings, and what is refused in them; files are in test_config_files.py."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from deterministic import describe, reproducible
from deterministic.errors import NondeterminismWarning, SeedError
from deterministic.scope.from_config import options_from

from .processes import run_python


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
    with pytest.raises(TypeError, match=r"deterministic_cudnn is not a bool[\s\S]*Write deterministic_cudnn: true"):
        reproducible.from_config({"deterministic_cudnn": value})


@pytest.mark.parametrize("value", ["3", 3.0, True, [3]])
def test_a_seed_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(SeedError, match="seed is not an integer"):
        reproducible.from_config({"seed": value})


@pytest.mark.parametrize("value", ["yes", 1])
def test_a_level_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is not a level"):
        reproducible.from_config({"seed": 1, "deterministic": value})


def test_overrides_win() -> None:
    assert asked({"seed": 3, "deterministic": True}, seed=4, deterministic="cudnn") == (4, "cudnn", True)
    assert asked({"seed": 3}, seed=None) == (None, False, True)
    assert asked({}, seed=5) == (5, False, True)
    assert asked({}, deterministic="warn") == (None, "warn", True)
    assert asked({"seed": 3}, enabled=False) == (3, False, False)
    assert reproducible.from_config({"seed": 3}, num_threads=1).config().num_threads == 1


def test_an_override_that_enables_wins_over_a_config_without_our_keys() -> None:
    assert asked({}, enabled=True) == (None, False, True)


def test_an_override_that_is_no_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="sed"):
        reproducible.from_config({"seed": 3}, sed=4)


@pytest.mark.parametrize("config", [None, 3, ["seed"], 1.5, OmegaConf.create(["seed"])])
def test_what_is_neither_mapping_nor_path_is_refused(config: Any) -> None:
    with pytest.raises(TypeError, match="this is not a configuration") as refused:
        reproducible.from_config(config)
    assert str(refused.value).splitlines()[1:] == [
        f"  found: {config!r} ({type(config).__name__})",
        "  expected: a mapping, or the path of a file",
        "Pass a mapping, for example vars(arguments) of an argparse.Namespace.",
    ]


@pytest.mark.parametrize("key", ["PYTHONASHSEED", "PYTHONHASSEED", "PYTHONHASHSEEED", "PYTHONHASHSED", "pythonashseed"])
def test_a_misspelt_variable_is_refused_with_who_sets_it(key: str) -> None:
    with pytest.raises(ValueError, match="misspelt") as refused:
        reproducible.from_config({"seed": 1, key: 0})
    assert str(refused.value).splitlines()[1:] == [
        f"  found: {key}",
        "  known: PYTHONHASHSEED",
        "Take it out: PYTHONHASHSEED is an environment variable; `deterministic run` sets it before Python starts.",
    ]


@pytest.mark.parametrize("key", ["PYTHONHASHSEED", "pythonhashseed", "python_hash_seed", "PYTHONPATH", "hash_seed"])
def test_a_variable_that_is_spelt_right_is_somebody_elses_key(key: str) -> None:
    assert asked({key: 0}) == (None, False, False)


@pytest.mark.parametrize("text", ["42", "1e3", "0o17", "${oc.env:SEED}"])
def test_a_seed_that_is_text_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(SeedError) as refused:
        reproducible.from_config({"seed": text})
    assert str(refused.value).splitlines() == [
        "seed is not an integer",
        f"  found: seed: {text!r}, which is text",
        "  expected: an integer, for example seed: 42",
        "Write only digits, without quotes: 1000 for 1e3; in OmegaConf ${oc.decode:${oc.env:SEED}}.",
    ]


def test_the_remedy_for_a_seed_out_of_the_environment_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", "42")
    with pytest.raises(SeedError, match="which is text"):
        reproducible.from_config(OmegaConf.create({"seed": "${oc.env:SEED}"}))
    assert asked(OmegaConf.create({"seed": "${oc.decode:${oc.env:SEED}}"})) == (42, False, True)


def test_what_is_overridden_is_not_looked_at() -> None:
    config = {"seed": "none", "deterministic": "perhaps", "deterministic_cudnn": 1}
    assert asked(config, seed=5, deterministic="warn") == (5, "warn", True)
    with pytest.raises(SeedError):
        asked(config, deterministic="warn")
    with pytest.raises(TypeError, match="not a bool"):
        asked(config, seed=5)


def test_the_arguments_are_read_without_torch_and_numpy(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("seed: 3\nsend: 4\ndeterministic: warn\n")
    code = (
        "import sys; from deterministic.scope.from_config import options_from\n"
        "try: options_from(sys.argv[1], {'seed': 5})\n"
        "except ValueError: pass\n"
        "print(options_from({'seed': 3, 'deterministic': 'warn'}, {}), 'yaml' in sys.modules)\n"
        "print(sorted({'torch', 'numpy', 'wrapt'}.intersection(sys.modules)))"
    )
    options, imported = run_python(code, str(file)).splitlines()
    assert options == "{'seed': 3, 'deterministic': 'warn'} True"
    assert imported == "[]"


@pytest.mark.parametrize(
    ("config", "found", "remedy"),
    [
        ({"random_seed": 42}, "random_seed: 42", "call it seed;"),
        ({"lr": 0.1, "rngSeed": 0, "deterministic": True}, "rngSeed: 0", "call it seed;"),
        ({"seeds": 42}, "seeds: 42", "call it seed;"),
        ({"seed_value": 1}, "seed_value: 1", "call it seed;"),
        ({"SEED_VALUE": 1}, "SEED_VALUE: 1", "call it seed;"),
        ({"training": [{"lr": 1}, {"seed": 1}]}, "training[1].seed: 1", "write it beside the other keys as seed;"),
        (OmegaConf.create({"a": [{"seed": 1}]}), "a[0].seed: 1", "write it beside the other keys as seed;"),
        ({"seed_everything": 42}, "seed_everything: 42", "call it seed;"),
        ({"training": {"lr": 0.1, "seed": 42}}, "training.seed: 42", 'pass key="training";'),
        ({"run": {"data": {"manual-seed": 1}}}, "run.data.manual-seed: 1", 'call it seed and pass key="run.data";'),
        (OmegaConf.create({"training": {"seed": 42}, "x": "${y}"}), "training.seed: 42", 'pass key="training";'),
    ],
)
def test_a_seed_of_another_name_or_place_is_warned_of(config: Any, found: str, remedy: str) -> None:
    with pytest.warns(NondeterminismWarning) as warned:
        reproducible.from_config(config)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert f"  found: {found}\n" in str(warned[0].message)
    assert f"To use it, {remedy}" in str(warned[0].message)
    scope = reproducible.from_config(config, seed=3)  # and the seed is given: nothing to warn of
    assert repr(scope).startswith("reproducible(seed=3")


@pytest.mark.parametrize(
    "config",
    [
        {"seed": 1, "data": {"seed": 2}, "random_seed": 3},
        {"seed": None, "data": {"seed": 2}},
        {"n_seeds": 3, "num_seed": 3, "seedling": 1, "speed": 1},
        {"use_seed": True, "random_seed": None, "data_seed": "of the day"},
        {"n_seeds": 42, "seeds": [1, 2], 7: 1, ("seed",): 2},
    ],
)
def test_what_is_no_seed_or_is_meant_so_is_not_warned_of(config: dict[Any, Any]) -> None:
    reproducible.from_config(config)


@pytest.mark.parametrize(
    ("config", "found", "level"),
    [
        ({"seed": 1, "cudnn_deterministic": True}, "cudnn_deterministic", "cudnn"),
        ({"seed": 1, "warn_only": True}, "warn_only", "warn"),
        ({"seed": 1, "Use_Deterministic_Algorithms": True}, "Use_Deterministic_Algorithms", "true"),
        (OmegaConf.create({"seed": 1, "warn_only": True, "x": "${y}"}), "warn_only", "warn"),
    ],
)
def test_a_level_of_another_name_is_warned_of(config: Any, found: str, level: str) -> None:
    with pytest.warns(
        NondeterminismWarning, match=f"found: {found}: true\nTo use it, .* deterministic: {level};"
    ) as given:
        reproducible.from_config(config)
    assert [warned.filename for warned in given] == [__file__]
    assert repr(reproducible.from_config(config, deterministic=True)) == "reproducible(seed=1, deterministic=True)"


@pytest.mark.parametrize(
    "more",
    [
        {"deterministic": False, "warn_only": True},
        {"deterministic_cudnn": False, "cudnn": True},
        {"warn_only": False, "cudnn": "path", "cudnn_benchmark": True, "benchmark": False, 7: True},
    ],
)
def test_what_is_no_level_or_is_meant_so_is_not_warned_of(more: dict[Any, Any]) -> None:
    reproducible.from_config({"seed": 1, **more})


def test_to_look_for_seeds_runs_nobody_s_resolver() -> None:
    OmegaConf.register_new_resolver("boom", lambda: 1 / 0, replace=True)
    config = OmegaConf.create({"random_seed": "${boom:}", "inner": {"lr": "${boom:}"}})
    reproducible.from_config(config)


def test_a_configuration_that_contains_itself_is_looked_at_so_far() -> None:
    config: dict[str, Any] = {"lr": 0.1}
    config["self"] = config
    reproducible.from_config(config)


@pytest.mark.parametrize("make", [dict, OmegaConf.create])
def test_key_picks_a_section(make: Any) -> None:
    config = make({"seed": 1, "run": {"training": {"seed": 2, "deterministic": "warn"}, "nothing": None}})
    with pytest.raises(TypeError, match=r"^key= is not a path\n  found: 3\n"):
        reproducible.from_config(config, key=3)  # type: ignore[arg-type]
    scope = reproducible.from_config(config, key="run.training")
    assert repr(scope) == "reproducible(seed=2, deterministic='warn')"
    assert repr(reproducible.from_config(config, key="run.training", seed=3)).startswith("reproducible(seed=3")
    with reproducible.from_config(config, key="run.nothing") as run:
        assert run.seed is None


def test_a_section_that_is_not_there_is_refused() -> None:
    config = {"training": {"seed": 2, "data": {"random_seed": 1}}}
    with pytest.raises(ValueError, match=r"missing: train, of key='train.x'\n  there: \['training'\]"):
        reproducible.from_config(config, key="train.x")
    with pytest.raises(ValueError, match=r"missing: x, of key='training.seed.x'\n  there: int"):
        reproducible.from_config(config, key="training.seed.x")
    with pytest.raises(TypeError, match=r"found: int at key='training.seed'"):
        reproducible.from_config(config, key="training.seed")
    with pytest.warns(NondeterminismWarning, match=r'pass key="training.data"'):
        reproducible.from_config({"training": {"data": {"seed": 1}}}, key="training")
