"""`reproducible.from_config` with a file: YAML and JSON as they come, and one clear error for what cannot be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deterministic import reproducible
from deterministic._from_config import options_from
from deterministic.errors import SeedError


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
        "the configuration file is no valid YAML",
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
        "the configuration file is no valid YAML",
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
        "the configuration file is no valid JSON",
        f"  found: {file}, line {place[0]}, column {place[1]}",
        f"  there: {problem}",
        "Correct that line.",
    ]


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_a_file_that_is_not_in_utf8_is_refused_with_its_line_and_column(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, "seed: 1\nauthor: René\n".encode("latin-1"), name)
    assert refusal(file) == [
        "the configuration file is no valid UTF-8",
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
        "a key stands in the configuration file twice, and only one would count",
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
    with pytest.raises(TypeError, match="holds no mapping"):
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
