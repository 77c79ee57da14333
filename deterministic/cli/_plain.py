"""A command line of `deterministic run` that is written plainly, read without argparse.

argparse brings gettext, locale and shutil, and they the compressors: 8 ms, twice, for a script that may take 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PlainParser:
    """Takes the declarations of options that an `argparse.ArgumentParser` takes, of a verb that runs a script."""

    prog = ""

    def __init__(self) -> None:
        self._options: dict[str, dict[str, Any]] = {}
        self._defaults: dict[str, Any] = {}

    def add_argument(self, *names: str, **declared: Any) -> None:
        """Declare an option, or the script with everything after it."""
        declared.setdefault("dest", names[-1].lstrip("-").replace("-", "_"))
        self._defaults[declared["dest"]] = False if declared.get("action") == "store_true" else declared.get("default")
        self._options.update(dict.fromkeys(names, declared))

    def read(self, words: Sequence[str]) -> SimpleNamespace | None:
        """Return what the words say; None where argparse is to say it, or what is wrong with them.

        Plain is an option in full with a good value as the next word, then the script; no `--` and no `=`.
        """
        found, place = {**self._defaults}, 0
        while place < len(words) and "--" not in words:
            word, place = words[place], place + 1
            declared = self._options.get(word)
            if declared is None or not word.startswith("-"):
                return None if word.startswith("-") else SimpleNamespace(**{**found, "command": [word, *words[place:]]})
            if declared.get("action") == "store_true":
                found[declared["dest"]] = True
                continue
            try:
                value = declared.get("type", str)(words[place])
            except Exception:  # noqa: BLE001 - no value, or a bad one; argparse words it
                return None
            if words[place].startswith("-") or value not in declared.get("choices", (value,)):
                return None
            found[declared["dest"]], place = value, place + 1
        return None
