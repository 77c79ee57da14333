"""`reproducible.from_config` with a file: YAML and JSON as they come, and one clear error for what cannot be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deterministic import reproducible
from deterministic.errors import NondeterminismWarning, SeedError
from deterministic.scope.from_config import options_from


def written(folder: Path, text: str | bytes, name: str = "config.yaml") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def asked(file: str | Path, **overrides: Any) -> tuple[Any, Any, bool]:
    """Return the seed, the level and whether the scope is enabled."""
    options = options_from(file, overrides)
    return options["seed"], options["deterministic"], options.get("enabled", True)


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json", "YAML"])
@pytest.mark.parametrize("as_path", [Path, str])
def test_a_file(tmp_path: Path, suffix: str, as_path: Any) -> None:
    text = json.dumps({"seed": 7, "deterministic_cudnn": True, "name": "é", "model": {"depth": [3]}})
    assert asked(as_path(written(tmp_path, text, f"config.{suffix}"))) == (7, "cudnn", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 0\ndeterministic: yes\nmodel:\n  depth: 3\n", (0, True, True)),
        ("seed: 42\ndeterministic_cudnn: false\n", (42, False, True)),
        ("deterministic: warn", (None, "warn", True)),
        ("seed: 0x2a", (42, False, True)),
        ("seed: ~\nlr: 0.1", (None, False, False)),
        ("seed:", (None, False, False)),
        ("lr: 1e-3\n1: 2\nnull: 3\n[a, b]: 4", (None, False, False)),
        ("", (None, False, False)),
        ("# nothing\n", (None, False, False)),
        ("\ufeffseed: 3\r\n", (3, False, True)),
    ],
)
def test_a_file_in_the_words_of_yaml(tmp_path: Path, text: str, expected: Any) -> None:
    assert asked(written(tmp_path, text)) == expected


@pytest.mark.parametrize(("text", "expected"), [('\ufeff{"seed": 3}', 3), ("", None), ("  \n", None), ("null", None)])
def test_a_file_in_the_words_of_json(tmp_path: Path, text: str, expected: Any) -> None:
    assert asked(written(tmp_path, text, "config.json"))[0] == expected


def test_anchors_and_merged_keys_are_yaml_too(tmp_path: Path) -> None:
    text = "base: &base\n  seed: 3\n  deterministic: &level warn\n<<: *base\nseed: 4\nother: *level\n"
    assert asked(written(tmp_path, text)) == (4, "warn", True), "a key beside the merged one wins, and is not repeated"


def test_a_file_without_our_keys_leaves_everything_as_it_is(tmp_path: Path) -> None:
    with reproducible.from_config(written(tmp_path, "lr: 0.1\nmodel: [1, 2]\n")) as run:
        assert run.seed is None
    assert repr(run) == "<Run: not enabled>"


OTHER_TOOLS = (
    "data: !include data.yaml\nmodel: !new:torch.nn.Linear [1, 2]\nrun: !!python/object/apply:os.system [exit 1]\n"
)


def test_what_other_tools_have_in_the_file_is_not_looked_at(tmp_path: Path) -> None:
    assert asked(written(tmp_path, OTHER_TOOLS + "born: 2024-13-45\nseed: 5\n")) == (5, False, True)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("!ENV SEED", "could not determine a constructor for the tag '!ENV'"),
        (
            "!!python/object/apply:os.system [exit 1]",
            "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("2024-13-45", "month must be in 1..12"),
    ],
)
def test_under_a_key_of_ours_it_is_refused_and_nothing_is_made(tmp_path: Path, value: str, problem: str) -> None:
    file = written(tmp_path, f"lr: 1\nseed: {value}\n")
    assert refusal(file) == [
        "the configuration file is not valid YAML",
        f"  found: {file}, line 2, column 7",
        f"  there: {problem}",
        "Correct that line.",
    ]


def refusal(file: Path) -> list[str]:
    """Return the lines of the error, which is a ValueError."""
    with pytest.raises(ValueError) as refused:
        reproducible.from_config(file)
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("seed: 1: 2", (1, 8), "mapping values are not allowed here"),
        ("seed: 1\nmodel:\n\t- 3\n", (3, 1), "found character '\\t' that cannot start any token"),
        ("é: 1\r\nlr: [1, 2\r\nseed: 3", (3, 5), "expected ',' or ']', but got ':'"),
        ("lr: *base", (1, 5), "found undefined alias 'base'"),
        ("seed: 1\n---\nseed: 2\n", (2, 1), "but found another document"),
        ("<<: 3\nseed: 1\n", (1, 5), "expected a mapping or list of mappings for merging, but found scalar"),
        ("lr: 1\nseed: \x00", (2, 7), "the character 0x00"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_invalid_yaml_is_refused_with_its_line_and_column(
    tmp_path: Path, mark: str, text: str, place: tuple[int, int], problem: str
) -> None:
    file = written(tmp_path, mark + text)
    assert refusal(file) == [
        "the configuration file is not valid YAML",
        f"  found: {file}, line {place[0]}, column {place[1]}",
        f"  there: {problem}",
        "Correct that line.",
    ]


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ('{"seed": 1,}', (1, 11), "Illegal trailing comma before end of object"),
        ('{\n  "seed": 1\n  "lr": 2\n}', (3, 3), "Expecting ',' delimiter"),
        ("seed: 1", (1, 1), "Expecting value"),
    ],
)
def test_invalid_json_is_refused_with_its_line_and_column(
    tmp_path: Path, text: str, place: tuple[int, int], problem: str
) -> None:
    if sys.version_info < (3, 13) and "trailing" in problem:
        place, problem = (1, 12), "Expecting property name enclosed in double quotes"
    file = written(tmp_path, text, "config.json")
    assert refusal(file) == [
        "the configuration file is not valid JSON",
        f"  found: {file}, line {place[0]}, column {place[1]}",
        f"  there: {problem}",
        "Correct that line.",
    ]


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_a_file_that_is_not_in_utf8_is_refused_with_its_line_and_column(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, "seed: 1\nauthor: René\n".encode("latin-1"), name)
    assert refusal(file) == [
        "the configuration file is not valid UTF-8",
        f"  found: {file}, line 2, column 12",
        "  there: the byte 0xe9",
        "Correct that line.",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", "seed: 1\nlr: 0.1\nseed: 2\n"),
        ("config.yaml", "{seed: 1, 'seed': 2}"),
        ("config.json", '{"seed": 1, "lr": 0.1, "seed": 2}'),
    ],
)
def test_a_key_that_stands_there_twice_is_refused(tmp_path: Path, name: str, text: str) -> None:
    file = written(tmp_path, text, name)
    assert refusal(file) == [
        "a key appears twice in the configuration file, and only one would count",
        "  found: seed: 1",
        "  found: seed: 2",
        f"Leave one of them in {file}.",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", "lr: 1\nlr: 2\nseed: 3\nmodel: {seed: 1}\nother: {seed: 2}\n"),
        ("config.json", '{"lr": 1, "lr": 2, "seed": 3, "model": {"seed": 1, "seed": 2}}'),
    ],
)
def test_other_keys_may_stand_there_twice(tmp_path: Path, name: str, text: str) -> None:
    assert asked(written(tmp_path, text, name)) == (3, False, True)


@pytest.mark.parametrize("text", ['"42"', "1e3", "0o17", "${SEED}", "true", "1.5", "[1]", "{a: 1}", "-1"])
def test_a_seed_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SeedError, match=r"seed is (not an integer|out of range)"):
        reproducible.from_config(written(tmp_path, f"seed: {text}\n"))


def test_a_misspelt_key_of_a_file_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, OTHER_TOOLS + "sead: 1\n"))[1:3] == ["  found: sead", "  known: seed"]


@pytest.mark.parametrize("name", ["config.toml", "config", "config.yaml.bak"])
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\.yaml, \.yml or \.json"):
        reproducible.from_config(written(tmp_path, "seed: 1", name))


@pytest.mark.parametrize("text", ["[1, 2]", "3", '"seed"'])
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path: Path, text: str, suffix: str) -> None:
    with pytest.raises(TypeError, match="is not a mapping"):
        reproducible.from_config(written(tmp_path, text, f"config.{suffix}"))


@pytest.mark.parametrize(("name", "error"), [("gone.yaml", FileNotFoundError), ("folder.yaml", IsADirectoryError)])
def test_what_cannot_be_opened_is_the_systems_own_error_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[OSError]
) -> None:
    (tmp_path / "folder.yaml").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r"^[^\n]*$") as refused:
        reproducible.from_config(name)
    assert type(refused.value) is (PermissionError if sys.platform == "win32" and "folder" in name else error)
    assert str(tmp_path / name) in str(refused.value)


def test_without_pyyaml_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match=r"(?s)missing: PyYAML.*deterministic\[cli\]"):
        reproducible.from_config(written(tmp_path, "seed: 1"))
    assert asked(written(tmp_path, '{"seed": 1}', "config.json"))[0] == 1, "JSON needs nothing"


def laughs(count: int) -> str:
    """Return lists of which each has the one before it ten times."""
    return "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, count + 1))


def merges(count: int) -> str:
    """Return mappings of which each merges the one before it ten times."""
    return "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, count + 1)
    )


def chain(count: int) -> str:
    """Return lists of which each has the one before it once."""
    return "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, count + 1))


COPIES = "an alias, with which more than 100,000 values are copies"
DEEP = "containers nested deeper than 100"
LONG = ":".join(["59"] * 5000)


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (laughs(5), (6, 25), COPIES),
        (merges(5), (6, 20), COPIES),
        (laughs(30) + "seed: *a30\n", (6, 25), COPIES),
        (chain(99), (100, 12), DEEP),
        ("lr: 1\na: " + "[" * 1000 + "]" * 1000, (2, 103), DEEP),
        ("\n".join(" " * n + "a:" for n in range(200)), (101, 101), DEEP),
        (f"lr: 1\nseed: {LONG}", (2, 7), "a number of 14999 digits"),
        (f"lr: 1\nseed: {LONG}.5", (2, 7), "a number of 15001 digits"),
        (f"seed: {'1' * 5000}", (1, 7), "a number of 5000 digits"),
        (f"seed: [1, {'1' * 5000}]", (1, 7), "a number of 5000 digits"),
        ("seed: !!int ''", (1, 7), "no value of the tag 'tag:yaml.org,2002:int'"),
        ("seed: !!timestamp never", (1, 7), "no value of the tag 'tag:yaml.org,2002:timestamp'"),
        ("seed: !!bool 5", (1, 7), "no value of the tag 'tag:yaml.org,2002:bool'"),
        (f"seed: {':'.join(['59'] * 500)}.5", (1, 7), "int too large to convert to float"),
    ],
    ids=lambda part: str(part)[:25],
)
def test_yaml_that_is_far_more_than_it_looks_is_refused_at_once(
    tmp_path: Path, text: str, place: tuple[int, int], problem: str
) -> None:
    file = written(tmp_path, text)
    assert refusal(file) == [
        "the configuration file is not valid YAML",
        f"  found: {file}, line {place[0]}, column {place[1]}",
        f"  there: {problem}",
        "Correct that line.",
    ]


def test_what_real_configurations_have_is_within_the_limits(tmp_path: Path) -> None:
    text = f"{laughs(4)}{merges(4).replace('a', 'b')}{chain(95).replace('a', 'c')}other: {LONG}\nseed: 1:30\n"
    assert asked(written(tmp_path, text)) == (90, False, True)
    nested = "[" * 99 + "]" * 99
    assert asked(written(tmp_path, f"a: {nested}\nseed: 4")) == (4, False, True)
    many = json.dumps({"seed": 3, "a": json.loads(nested), "text": "[" * 500 + '"' + "9" * 9000, "b": [[]] * 9000})
    assert asked(written(tmp_path, many, "config.json")) == (3, False, True)


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ('{"a":' * 3000, 501, DEEP),
        ('{"a": ' + "[" * 3000 + "]" * 3000 + "}", 106, DEEP),
        ('{"seed": 1, "other": ' + "1" * 5000 + "}", 22, "a number of 5000 digits"),
        ('{"a\\"": "[", "seed": -' + "1" * 5000 + "}", 23, "a number of 5000 digits"),
    ],
    ids=["mappings", "lists", "a number", "a seed"],
)
def test_json_that_python_cannot_read_is_refused_with_its_line_and_column(
    tmp_path: Path, text: str, column: int, problem: str
) -> None:
    file = written(tmp_path, "\n" + text, "config.json")
    assert refusal(file)[:3] == [
        "the configuration file is not valid JSON",
        f"  found: {file}, line 2, column {column}",
        f"  there: {problem}",
    ]


def test_a_string_that_never_ends_is_gone_through_once(tmp_path: Path) -> None:
    assert "  there: Unterminated string" in refusal(written(tmp_path, '{"a": "' + '\\"' * 300_000, "config.json"))[2]


@pytest.mark.parametrize("key", ["seed", "deterministic", "deterministic_cudnn"])
@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_no_error_holds_all_of_a_value(tmp_path: Path, key: str, name: str) -> None:
    for value in ("x" * 10**6, ["x"] * 10**5, {"a": [[["x" * 1000] * 100]] * 100}):
        if name.endswith("yaml") and not isinstance(value, str):
            value = {"a": [[["x"] * 100] * 100]}  # which PyYAML takes long to read
        with pytest.raises((ValueError, TypeError)) as refused:
            reproducible.from_config(written(tmp_path, json.dumps({key: value}), name))
        assert len(str(refused.value)) < 30_000


def test_a_key_that_stands_twice_is_named_with_a_short_value(tmp_path: Path) -> None:
    file = written(tmp_path, f"seed: &a [{', '.join(['x'] * 1000)}]\nseed: *a\n")
    assert len("\n".join(refusal(file))) < 2000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "base: &base\n  seed: 3\nmodel: !include model.yaml\ntraining:\n  <<: *base\n  lr: !other 1\n"),
        ("a.json", '{"seed": 1, "training": {"seed": 3, "lr": {"seed": 4, "seed": 5}}}'),
    ],
)
def test_key_picks_a_section_of_a_file(name: str, text: str, tmp_path: Path) -> None:
    assert repr(reproducible.from_config(written(tmp_path, text, name), key="training")).startswith(
        "reproducible(seed=3,"
    )


@pytest.mark.parametrize(
    ("name", "text"), [("a.yaml", "a:\n  seed: 1\n  seed: 2"), ("a.json", '{"a":{"seed":1,"seed":2}}')]
)
def test_what_stands_twice_in_the_section_is_refused(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        reproducible.from_config(written(tmp_path, text, name), key="a")


@pytest.mark.parametrize("text", ["", "seed: 1", "a: 3", "a: [b]", "a: {b: 3}"])
def test_a_file_without_the_section_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=r"no such section|not a mapping"):
        reproducible.from_config(written(tmp_path, text), key="a.b")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("random_seed: 0x2a\nmodel: !include a", "random_seed: 0x2a"),
        ("model: !include a\ntraining: {optimizer: !other b, seed: 1}", "training.seed: 1"),
        ("model: !include a\ntraining: [1, {seed: 1}]", r"training\[1\]\.seed: 1"),
        ("seed: 1\nwarn_only: on\nmodel: !include a", "warn_only: true"),
    ],
)
def test_a_seed_elsewhere_in_a_file_is_warned_of_and_no_tag_is_made(text: str, found: str, tmp_path: Path) -> None:
    with pytest.warns(NondeterminismWarning, match=found):
        reproducible.from_config(written(tmp_path, text))
