"""The arguments of `reproducible` out of a configuration file or mapping."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import NondeterminismWarning, SeedError, cut, explain, type_error, value_error, warn
from ..ground.arguments import as_integer, boolean
from ..ground.config import validate_level
from ..ground.launch import HASH_SEED
from ..ground.synonyms import OTHER_LEVELS

KEYS = ("seed", "deterministic", "deterministic_cudnn")

_MISSPELT = 0.9
"""Similarity from which a longer key counts as a misspelling; "deterministic_ops" is 0.87 from "deterministic"."""

_DEEPEST = 100  # containers in containers: reading one takes several of the thousand calls that Python allows

_TOO_DEEP = f"containers nested deeper than {_DEEPEST}"

_MOST_DIGITS = 4300  # Python's own limit, which 3.10 lacks and numbers to the base 60 escape: more take quadratic time

_MOST_COPIES = 100_000
"""Values that all aliases and merge keys stand for: nested in each other, a few lines would stand for billions."""

_IN_JSON = re.compile(r'"(?:[^"\\]|\\.)*"?|([\[{])|([\]}])|(\d{4301,})', re.DOTALL)
"""A string, in which nothing counts; what opens, what closes; a number that is too long."""

_SEED_OF_ANOTHER_NAME = re.compile(
    r"(?!n_|num_)(.*[_-]|random|manual|rng)?seed([_-]?value)?|seeds|seed_everything|random_state", re.I
)
_BOOL, _INTEGER, _MAP, _SEQUENCE, _TEXT = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "map", "seq", "str"))

_WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML raises, beside its own errors, of a value that its tag or its looks promise and that it is not."""


def options_from(config: Mapping[str, Any] | str | os.PathLike[str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that `config` and `overrides` ask for; raise as `reproducible.from_config`.

    Neither torch nor numpy is imported, since the command line asks before it starts Python again.
    """
    mapping = section_of(config)
    _refuse_misspelt(mapping)
    # What is overridden is not looked at: the command line also gets past a value that is wrong.
    asked = [key for key in KEYS if key.removesuffix("_cudnn") not in overrides]
    values = {key: mapping[key] for key in asked if key in mapping and mapping[key] is not None}
    options: dict[str, Any] = {}
    if "seed" in values:
        options["seed"] = seed = values["seed"]
        if isinstance(seed, str):
            raise SeedError(
                "seed is not an integer",
                (f"found: seed: {cut(seed)}, which is text", "expected: an integer, for example seed: 42"),
                "Write only digits, without quotes: 1000 for 1e3; in OmegaConf ${oc.decode:${oc.env:SEED}}.",
            )
    level = _level(values)
    if level is not None:
        options["deterministic"] = level
    entropy = mapping.get("entropy")  # a number is the weight of a loss, and somebody else's
    if isinstance(entropy, str) or getattr(entropy, "tag", None) == _TEXT:
        options["entropy"] = mapping["entropy"]
    if not {"seed", "deterministic"} & {*options, *overrides}:
        options["enabled"] = False
    return {"seed": None, "deterministic": False, **options, **overrides}


def section_of(config: Mapping[str, Any] | str | os.PathLike[str], key: str | None = None) -> Mapping[Any, Any]:
    """Return the mapping at a dotted path of a configuration, all of it for None; raise as `from_config`."""
    section = _at(config, key) if isinstance(config, Mapping) else _read(config, key)
    if section is None:  # an empty file, or an empty section, has no keys
        return {}
    if not isinstance(section, Mapping):
        where = f"key={key!r}" if key else cut(config)
        values = (f"found: {type(section).__name__} at {where}", "expected: keys and values, for example seed: 42")
        remedy = "Put the keys at the top level of the file, or name the section that has them: key=."
        raise type_error("the configuration is not a mapping", values, remedy)
    return section


def warn_of_other_seeds(section: Mapping[Any, Any], key: str | None) -> None:
    """Warn where a configuration without our `seed` has one of another name, or deeper, which seeds nothing."""
    path, value = next(_other_seeds(section), ("seed", None)) if "seed" not in section else ("seed", None)
    inner, _, name = path.rpartition(".")
    steps = ["call it seed"] * (name != "seed") + [f'pass key="{f"{key}." if key else ""}{inner}"'] * bool(inner)
    if "[" in inner:  # where no dotted path leads
        steps = ["write it beside the other keys as seed"]
    if steps:
        differs = "nothing is seeded: the configuration has no seed where it is looked for"
        remedy = f"To use it, {' and '.join(steps)}; or pass seed=. Where nothing is to be seeded, write seed: null."
        warn(NondeterminismWarning, differs, (f"found: {path.replace('.[', '[')}: {value}",), remedy)


def warn_of_other_levels(section: Mapping[Any, Any]) -> None:
    """Warn where a configuration without a level of ours asks for one by another name."""
    if any(key in section for key in KEYS[1:]):
        return
    for key, value in _unresolved(section).items():
        level, _ = OTHER_LEVELS.get(key.lower(), (False, None)) if isinstance(key, str) else (False, None)
        is_on = value.value.lower() in ("on", "true", "yes") if getattr(value, "tag", None) == _BOOL else value is True
        if level and is_on:
            differs = "no operation is made deterministic: the configuration asks for it by a name that is not read"
            to_use = f"To use it, write deterministic: {str(level).lower()}; or pass deterministic=."
            remedy = f"{to_use} Where none is wanted, write deterministic: false."
            warn(NondeterminismWarning, differs, (f"found: {key}: true",), remedy)
            return


def _unresolved(section: Any) -> Any:
    """Return a section, one of OmegaConf's as a dict: resolving may run somebody's code."""
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is not None and omegaconf.OmegaConf.is_config(section):
        return omegaconf.OmegaConf.to_container(section, resolve=False)
    return section


def _other_seeds(section: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    section = _unresolved(section)
    if not isinstance(section, Mapping):
        section = {f"[{place}]": part for place, part in enumerate(section)}
    for key, value in section.items():
        tag = getattr(value, "tag", None)  # of a YAML node, which is not made
        inside = dict(_pairs(value)) if tag == _MAP else value.value if tag == _SEQUENCE else value
        if isinstance(inside, (Mapping, list, tuple)):
            if above.count(".") < 8:  # it may contain itself
                yield from _other_seeds(inside, f"{above}{key}.")
        elif _SEED_OF_ANOTHER_NAME.fullmatch(str(key)) and (tag == _INTEGER or as_integer(value) is not None):
            yield f"{above}{key}", value.value if tag else value


def _at(mapping: Any, key: str | None, entries_of: Callable[[Any], Any] = lambda mapping: mapping) -> Any:
    """Return what stands at a dotted path."""
    if not isinstance(key, (str, type(None))):
        raise type_error("key= is not a path", (f"found: {cut(key)}",), "Pass a text such as key='training'.")
    for part in key.split(".") if key else ():
        entries = entries_of(mapping)
        if not isinstance(entries, Mapping) or part not in entries:
            names = cut(list(entries)) if isinstance(entries, Mapping) else type(entries).__name__
            values = (f"missing: {part}, of key={key!r}", f"there: {names}")
            raise value_error("the configuration has no such section", values, "Pass its path, as 'a.b'.")
        mapping = entries[part]
    return mapping


def _level(values: Mapping[str, Any]) -> Any:
    """Return the level that the two keys ask for together; None if neither is there."""
    cudnn = values.get("deterministic_cudnn")
    if cudnn is not None:
        remedy = "Write deterministic_cudnn: true or false, or give a level with deterministic: true | warn."
        boolean("deterministic_cudnn", cudnn, remedy=remedy)
    if "deterministic" not in values:
        return None if cudnn is None else ("cudnn" if cudnn else False)
    level = validate_level(values["deterministic"])
    if cudnn is False and level is not False:
        raise value_error(
            "two keys of the configuration contradict each other",
            (f"deterministic: {level!r} (covers cuDNN)", "deterministic_cudnn: False"),
            "Leave deterministic_cudnn out.",
        )
    return "cudnn" if cudnn and level is False else level


def _read(config: str | os.PathLike[str], key: str | None) -> Any:
    if not isinstance(config, (str, os.PathLike)):
        raise type_error(
            "this is not a configuration",
            (f"found: {cut(config)} ({type(config).__name__})", "expected: a mapping, or the path of a file"),
            "Pass a mapping, for example vars(arguments) of an argparse.Namespace.",
        )
    path = Path(config).absolute()  # an error says where it was looked for: Hydra may change the directory
    suffix = path.suffix.lower()
    if suffix not in (".json", ".yaml", ".yml"):
        raise value_error(
            "this configuration file cannot be read",
            (f"found: {path}", "expected: a name that ends in .yaml, .yml or .json"),
            "Rename it, or load it and pass the mapping.",
        )
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        _refuse_text("UTF-8", path, before, f"the byte {data[error.start]:#04x}", error)
    return _json(text, path, key) if suffix == ".json" else _yaml(text, path, key)


def _json(text: str, path: Path, key: str | None) -> Any:
    depth = 0
    for token in _IN_JSON.finditer(text):
        depth += bool(token[1]) - bool(token[2])
        if token[3] or depth > _DEEPEST:
            problem = f"a number of {len(token[0])} digits" if token[3] else _TOO_DEEP
            _refuse_text("JSON", path, text[: token.start()], problem)
    pairs_of: dict[int, list[tuple[str, Any]]] = {}  # by id; of what is dropped another one takes the place

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        pairs_of[id(made)] = pairs
        return made

    try:
        loaded = json.loads(text, object_pairs_hook=noted) if text.strip() else None
    except json.JSONDecodeError as error:
        _refuse_text("JSON", path, text[: error.pos], error.msg, error)
    loaded = _at(loaded, key)
    if isinstance(loaded, dict):
        _refuse_repeated(pairs_of[id(loaded)], path)
    return loaded


def _yaml(text: str, path: Path, key: str | None) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            explain(
                "reading YAML needs a package that is not installed",
                (f"found: {path}", "missing: PyYAML"),
                "pip install 'deterministic[cli]', or load the file and pass the mapping.",
            )
        ) from error

    def made(node: Any) -> Any:
        try:
            for digits in _numbers(node):
                if len(digits) > _MOST_DIGITS:
                    raise ValueError(f"a number of {len(digits)} digits")
            return loader.construct_object(node, deep=True)
        except (yaml.MarkedYAMLError, *_WRONG) as error:  # a tag of another tool's, a date that is none
            speaks = isinstance(error, (ArithmeticError, ValueError))
            problem = getattr(error, "problem", str(error) if speaks else f"no value of the tag {node.tag!r}")
            _refuse_text("YAML", path, text[: node.start_mark.index], problem, error)

    def entries_of(node: Any) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return node and made(node)
        loader.flatten_mapping(node)
        return dict(_pairs(node))

    try:
        for problem, event in _excesses(yaml.parse(text, yaml.SafeLoader)):
            _refuse_text("YAML", path, text[: event.start_mark.index], problem)
        loader = yaml.SafeLoader(text)
        root = _at(loader.get_single_node(), key, entries_of)
        if not isinstance(root, yaml.MappingNode):
            return root if root is None else made(root)
        # A key beside a merged one (<<) is not repeated.
        _refuse_repeated([(key, made(value)) for key, value in _pairs(root) if key in KEYS], path)
        loader.flatten_mapping(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _refuse_text("YAML", path, text[: mark.index], error.problem or error.context, error)
    except yaml.reader.ReaderError as error:
        _refuse_text("YAML", path, text[: error.position], f"the character {error.character:#04x}", error)
    return _Nodes(_pairs(root), made)


class _Nodes(dict[Any, Any]):
    """A YAML mapping, of which a value is made when it is asked for: other keys may have the tags of other tools."""

    def __init__(self, nodes: Iterable[tuple[Any, Any]], make: Callable[[Any], Any]) -> None:
        super().__init__(nodes)
        self._make = make

    def __getitem__(self, key: Any) -> Any:
        return self._make(super().__getitem__(key))


def _pairs(root: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and the values of a YAML mapping; a key that is no text stays the node that it is."""
    for key, value in root.value:
        yield key.value if key.tag == _TEXT else key, value


def _numbers(node: Any) -> Iterator[str]:
    """Yield the numbers in a YAML value as they are written."""
    if isinstance(node, (list, tuple)):
        for part in node:
            yield from _numbers(part)
    elif not isinstance(node.value, str):
        yield from _numbers(node.value)
    elif node.tag in (_INTEGER, "tag:yaml.org,2002:float"):
        yield node.value


def _excesses(events: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield what would take PyYAML far longer to read than it is long, and where: counted before aliases are copied."""
    from yaml import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

    containers: list[tuple[str | None, int, int]] = [(None, 0, 0)]  # open ones: the anchor, how many values, how deep
    known: dict[str | None, tuple[int, int]] = {}
    copies = 0
    for event in events:
        anchor, size, height = getattr(event, "anchor", None), 1, 0
        if isinstance(event, CollectionStartEvent):
            containers.append((anchor, 1, 1))
        elif isinstance(event, (CollectionEndEvent, NodeEvent)):
            if isinstance(event, CollectionEndEvent):
                anchor, size, height = containers.pop()
            elif isinstance(event, AliasEvent):
                size, height = known.get(anchor, (1, 0))
                copies += size
            known[anchor] = size, height
            above, before, deep = containers[-1]
            containers[-1] = above, before + size, max(deep, height + 1)
        if copies > _MOST_COPIES:
            yield f"an alias, with which more than {_MOST_COPIES:,} values are copies", event
        if len(containers) - 1 + height > _DEEPEST:
            yield _TOO_DEEP, event


def _refuse_text(form: str, path: Path, before: str, problem: str, error: Exception | None = None) -> NoReturn:
    """Refuse a file for what stands in it after `before`."""
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    raise value_error(
        f"the configuration file is not valid {form}",
        (f"found: {path}, line {line}, column {column}", f"there: {problem}"),
        "Correct that line.",
    ) from error


def _refuse_repeated(pairs: Sequence[tuple[Any, Any]], path: Path) -> None:
    for key in KEYS:
        values = [cut(value) for other, value in pairs if other == key]
        if len(values) > 1:
            raise value_error(
                "a key appears twice in the configuration file, and only one would count",
                tuple(f"found: {key}: {value}" for value in values),
                f"Leave one of them in {path}.",
            )


def _refuse_misspelt(mapping: Mapping[Any, Any]) -> None:
    for key in mapping:
        ours = _meant(key, mapping)
        if ours is not None:
            differs = "a key of the configuration looks misspelt, and would silently do nothing"
            remedy = f"Write {ours}, or rename the key if it is not meant for this library."
            if ours == HASH_SEED:
                setter = "`deterministic run` sets it before Python starts"
                remedy = f"Take it out: {ours} is an environment variable; {setter}."
            raise value_error(differs, (f"found: {key}", f"known: {ours}"), remedy)


def _meant(key: Any, mapping: Mapping[str, Any]) -> str | None:
    """Return the key of ours, or the variable of Python's, that `key` is a misspelling of.

    "seed" has many neighbours among words (speed, need): only another order or one other letter in the middle of a
    key with an integer counts.
    """
    if not isinstance(key, str) or key in KEYS:
        return None
    folded = key.lower().replace("-", "_")
    if folded in KEYS:
        return folded
    close = difflib.get_close_matches(folded, KEYS[1:], n=1, cutoff=_MISSPELT)
    if close:
        return str(close[0])
    # Spelt right, in whatever case, it is somebody's own key.
    variable = folded.upper().replace("_", "")
    if variable != HASH_SEED and difflib.get_close_matches(variable, [HASH_SEED], cutoff=_MISSPELT):
        return HASH_SEED
    if len(folded) != 4:
        return None
    swapped = sorted(folded) == sorted("seed")
    one_letter_off = folded[0] + folded[-1] == "sd" and sum(a != b for a, b in zip(folded, "seed", strict=True)) == 1
    # The value is looked at last: other people's keys may hold what cannot be read (OmegaConf's ???).
    return "seed" if (swapped or one_letter_off) and as_integer(mapping[key]) is not None else None
