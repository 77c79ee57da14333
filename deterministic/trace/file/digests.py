"""What stands in a trace for sites and records, so that two of them can be told apart."""

from __future__ import annotations

import struct

import numpy as np
import xxhash

from .model import Site

LONGEST_SEGMENT = 1 << 16
"""Records after which a segment is cut: what is held in memory stays bounded where no optimizer steps."""


def key_of(site: Site) -> int:
    """Return 64 bits of what two runs must agree in to be at the same site; where inputs came from is none of it."""
    values = [(value.role, value.type, value.name) for value in site.values]
    text = "\0".join([*site.identity, site.arguments, *("\1".join(value) for value in values)])
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def digest_of(keys: np.ndarray, hashes: np.ndarray) -> bytes:
    """Return 16 bytes over the sites and the hashes of records, the same on every machine."""
    digest = xxhash.xxh3_128(struct.pack("<QQ", len(keys), len(hashes)))
    digest.update(keys.astype("<u8", copy=False).tobytes())
    digest.update(hashes.astype("<u8", copy=False).tobytes())
    return digest.digest()
