"""A command line of `deterministic run` that is written plainly, read without argparse.

argparse brings gettext, locale and shutil, and they the compressors: 8 ms, twice, for a script that may take 20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Declared:
    """Takes the declarations of options that an `argparse.ArgumentParser` takes."""

    prog = ""

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {}
        self.found: dict[str, Any] = {}

    def add_argument(self, *names: str, **declared: Any) -> None:
        """Declare an option, or the script with everything after it."""
        declared.setdefault("dest", names[-1].lstrip("-").replace("-", "_"))
        self.found[declared["dest"]] = False if "action" in declared else None
        self.options.update(dict.fromkeys(names, declared))


def plainly(declare: Callable[[Any], object], words: Sequence[str]) -> SimpleNamespace | None:
    """Return what the words say, by the options that `declare` adds; None where argparse is to say it or to refuse.

    Plain is an option in full with a good value as the next word, then the script; no `--` and no `=`.
    """
    declare(declared := _Declared())
    options, found, left = declared.options, declared.found, [*reversed(words)]
    while left and "--" not in words:
        word = left.pop()
        if not word.startswith("-"):
            return SimpleNamespace(**{**found, "command": [word, *reversed(left)]})
        option = options.get(word, {})
        if "action" in option:  # a flag
            found[option["dest"]] = True
            continue
        if not option or not left or left[-1].startswith("-"):
            return None
        try:
            value = found[option["dest"]] = option.get("type", str)(left.pop())
        except Exception:  # noqa: BLE001 - argparse says what is wrong with it
            return None
        if value not in option.get("choices", (value,)):
            return None
    return None
