"""What every source must do, as a check that runs on any of them."""

from __future__ import annotations

import json
from typing import Any

from ..errors import DeterministicError, explain
from ..ground.config import Config, Level
from ..ground.source import RngSource, Source

_LEVELS: tuple[Level, ...] = (False, "cudnn", True, "warn")


def check_source(source: Source) -> None:
    """Check that `source` keeps the contract of `Source`; it is left as it was found.

    Captures, applies every level with and without a seed, restores, and compares descriptions; for a generator also
    that equal seeds give equal states, that another seed does not, and that `encode` and `decode` are inverse.

    Args:
        source: The source to check.

    Raises:
        TypeError: It lacks a method or an attribute of `Source` (of `RngSource` where its kind is "rng").
        DeterministicError: It breaks the contract; the message says where.
    """
    _check_shape(source)
    initial = source.capture()
    before = _described(source, initial)
    try:
        _expect(source, "capture changes nothing", before, _described(source, source.capture()))
        seen = []
        for level in _LEVELS:
            for seed in (None, 1, 2):
                applied = source.apply(Config(seed, level)) or ()
                seen.append((seed, _described(source, source.capture()), bool(applied and applied.values)))
                _expect(source, "a captured state does not change later", before, _described(source, initial))
                source.restore(initial)
                _expect(source, "restore gives back what was captured", before, _described(source, source.capture()))
        if source.kind == "rng":
            _check_seeding(source, seen)
            _check_encoding(source, initial)
        source.restore(initial)
        source.restore(initial)
        _expect(source, "restoring twice is the same", before, _described(source, source.capture()))
    finally:
        source.restore(initial)


def _check_shape(source: object) -> None:
    kind = getattr(source, "kind", None)
    protocol = RngSource if kind == "rng" else Source
    needed = ("name", "kind", "capture", "apply", "restore", "describe")
    missing = [
        name for name in (*needed, *(("encode", "decode") if kind == "rng" else ())) if not hasattr(source, name)
    ]
    if not missing and getattr(type(source), "__hash__", None) is None:
        raise TypeError(
            explain(
                f"{type(source).__name__} cannot be hashed, and a scope keeps the states by source",
                ("found: __hash__ is None, as in a dataclass with eq=True",),
                "Leave __eq__ out, or make it a frozen dataclass.",
            )
        )
    if missing or kind not in ("rng", "setting"):
        raise TypeError(
            explain(
                f"{type(source).__name__} is no {protocol.__name__}",
                (f"missing: {', '.join(missing) or 'nothing'}", f"kind: {kind!r}, expected 'rng' or 'setting'"),
                "Write what is missing; deterministic.sources.base describes it.",
            )
        )


def _check_seeding(source: Source, seen: list[tuple[int | None, Any, bool]]) -> None:
    by_seed = {seed: [text for found, text, _ in seen if found == seed] for seed in (1, 2)}
    for seed, texts in by_seed.items():
        _expect(source, f"seed {seed} gives one state", texts[0], *texts[1:])
    reports = any(sets for _, _, sets in seen)
    if reports and by_seed[1][0] == by_seed[2][0]:
        raise DeterministicError(
            explain(
                f"{source.name}: another seed gives the same state, so seeding does nothing",
                (f"seed 1: {by_seed[1][0]}", f"seed 2: {by_seed[2][0]}"),
                "Seed the generator in apply(), and let describe() show its state.",
            )
        )


def _check_encoding(source: Source, state: Any) -> None:
    if isinstance(source, RngSource):
        plain = source.encode(state)
        _expect(source, "decode undoes encode", _text(plain), _text(source.encode(source.decode(plain))))


def _text(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, default=lambda tensor: tensor.tolist())


def _described(source: Source, state: Any) -> str:
    description = source.describe(state)
    try:
        return json.dumps(description, sort_keys=True)
    except TypeError as error:
        raise DeterministicError(
            explain(
                f"{source.name} breaks a rule of every source: describe returns JSON",
                (f"found: {description!r}", f"error: {error}"),
                "Return None, bools, numbers, strings, lists and dicts alone.",
            )
        ) from error


def _expect(source: Source, rule: str, expected: str, *found: str) -> None:
    for text in found:
        if text != expected:
            raise DeterministicError(
                explain(
                    f"{source.name} breaks a rule of every source: {rule}",
                    (f"expected: {expected}", f"found: {text}"),
                    "Mend the source; deterministic.testing.check_source(source) runs this check.",
                )
            )
