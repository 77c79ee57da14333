"""The arguments of `reproducible` out of a configuration file or mapping."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._config import validate_level
from ._seeds import as_integer
from .errors import explain

KEYS = ("seed", "deterministic", "deterministic_cudnn")

_MISSPELT = 0.9
"""Similarity from which a longer key counts as a misspelling; "deterministic_ops" is 0.87 from "deterministic"."""


def options_from(config: Mapping[str, Any] | str | os.PathLike[str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that `config` and `overrides` ask for.

    Raises:
        TypeError, ValueError: See `reproducible.from_config`.
    """
    mapping = config if isinstance(config, Mapping) else _read(Path(config))
    _refuse_misspelt(mapping)
    given = {key: mapping[key] for key in KEYS if key in mapping and mapping[key] is not None}
    options: dict[str, Any] = {}
    if "seed" in given:
        options["seed"] = given["seed"]
    level = _level(given)
    if level is not None:
        options["deterministic"] = level
    options.update(overrides)
    if "seed" not in options and "deterministic" not in options:
        options.setdefault("enabled", False)
    options.setdefault("seed", None)
    options.setdefault("deterministic", False)
    return options


def _level(given: Mapping[str, Any]) -> Any:
    """Return the level that the two keys ask for together; None if neither is there."""
    cudnn = given.get("deterministic_cudnn")
    if cudnn is not None and not isinstance(cudnn, bool):
        raise TypeError(
            explain(
                "deterministic_cudnn is not a bool",
                (f"found: {cudnn!r}", "expected: true or false"),
                "Write deterministic_cudnn: true, or give a level with deterministic: true | warn.",
            )
        )
    if "deterministic" not in given:
        return None if cudnn is None else ("cudnn" if cudnn else False)
    level = validate_level(given["deterministic"])
    if cudnn is False and level is not False:
        raise ValueError(
            explain(
                "two keys of the configuration contradict each other",
                (f"deterministic: {level!r} (covers cuDNN)", "deterministic_cudnn: False"),
                "Leave deterministic_cudnn out.",
            )
        )
    return "cudnn" if cudnn and level is False else level


def _read(path: Path) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix not in (".json", ".yaml", ".yml"):
        raise ValueError(
            explain(
                "this is no configuration file that can be read",
                (f"found: {path}", "expected: a name that ends in .yaml, .yml or .json"),
                "Rename it, or load it and pass the mapping.",
            )
        )
    text = path.read_text(encoding="utf-8")
    loaded = json.loads(text) if suffix == ".json" else _yaml(text, path)
    if loaded is None:  # an empty file has no keys
        return {}
    if not isinstance(loaded, Mapping):
        raise TypeError(
            explain(
                "the configuration file holds no mapping",
                (f"found: {type(loaded).__name__} in {path}", "expected: keys and values, for example seed: 42"),
                "Put the keys at the top level of the file.",
            )
        )
    return loaded


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise TypeError(
            explain(
                "reading YAML needs a package that is not installed",
                (f"found: {path}", "missing: PyYAML"),
                "pip install 'deterministic[cli]', or load the file and pass the mapping.",
            )
        ) from error
    return yaml.safe_load(text)


def _refuse_misspelt(mapping: Mapping[str, Any]) -> None:
    for key in mapping:
        ours = _meant(key, mapping)
        if ours is not None:
            raise ValueError(
                explain(
                    "a key of the configuration looks misspelt, and would silently do nothing",
                    (f"found: {key}", f"known: {ours}"),
                    f"Write {ours}, or rename the key if it is not meant for this library.",
                )
            )


def _meant(key: Any, mapping: Mapping[str, Any]) -> str | None:
    """Return the key of ours that `key` is a misspelling of.

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
    if len(folded) != 4:
        return None
    swapped = sorted(folded) == sorted("seed")
    one_letter_off = folded[0] + folded[-1] == "sd" and sum(a != b for a, b in zip(folded, "seed", strict=True)) == 1
    # The value is looked at last: other people's keys may hold what cannot be read (OmegaConf's ???).
    return "seed" if (swapped or one_letter_off) and as_integer(mapping[key]) is not None else None
