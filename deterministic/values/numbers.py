"""Numbers as 64 bits, and what else of a trace's values is told without torch."""

from __future__ import annotations

import struct
from typing import Any

from xxhash import xxh3_64_intdigest

NOT_COMPARED = "not compared"  # ends the type of a value that has no fingerprint, or whose values cannot be read

UNREADABLE = f"unreadable, {NOT_COMPARED}"
"""Ends the type of a tensor that holds values which cannot be read, and of what holds such a tensor."""

_NUMBERS = (bool, int, float, complex)
MASK = (1 << 64) - 1
_FLOAT, _BITS = struct.Struct("<d"), struct.Struct("<Q")


def hash_of_text(text: str) -> int:
    """Return the hash `HOST` of a text's UTF-8."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def is_number(value: Any) -> bool:
    """Return whether a value is recorded as its own 64 bits."""
    return isinstance(value, _NUMBERS)


def number_type(value: Any) -> str:
    """Return how a record calls the type of a number: "float", "int", "bool", "complex"; "text" for anything else."""
    if type(value) in _NUMBERS:
        return type(value).__name__
    return next((kind.__name__ for kind in _NUMBERS if isinstance(value, kind)), "text")


def number_bits(value: Any) -> int:
    """Return the 64 bits of a number; of a complex one a hash."""
    if isinstance(value, int):
        return int(value) & MASK
    if isinstance(value, float):
        bits: int = _BITS.unpack(_FLOAT.pack(value))[0]
        return bits
    return xxh3_64_intdigest(struct.pack("<dd", value.real, value.imag))


def signed(bits: int) -> int:
    """Return 64 bits as the whole number that they are in two's complement."""
    return bits - (1 << 64) if bits >> 63 else bits


def number_from(kind: str, bits: int) -> int | float | bool | None:
    """Return the number that `number_bits` was given; None where its bits do not tell it."""
    if kind == "bool":
        return bool(bits)
    if kind == "int":
        return signed(bits)
    if kind == "float":
        value: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
        return value
    return None
