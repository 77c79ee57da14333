"""Digests of data sets: sample by sample, so that none need fit into memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import Any

import numpy
import torch

from ..errors import DeterministicError, cut
from ..ground import snapshot
from ..ground.config import Config
from ..sources import SOURCES
from ..values.fingerprint import fingerprint

_SECONDS_BETWEEN = 0.2

_VALUES = (torch.Tensor, numpy.ndarray, list, tuple, Mapping, str, bytes)
"""Others are read sample by sample: what they hold, a path for example, is not yet their data."""


def digests(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of each data set, by "data." and its name.

    Every sample is read, in the order of its index, while the process's generators stand where the seed 0 puts them;
    then these are put back. A generator that the data set holds itself is drawn from. Tensors, arrays, texts and
    containers of these have their fingerprint. A DeterministicError says that it has neither that nor a length and
    indices, or that a sample has none.
    """
    return {f"data.{name}": _digest(name, dataset) for name, dataset in data.items()}


def _digest(name: str, dataset: Any) -> str:
    if isinstance(dataset, _VALUES):
        return fingerprint(dataset)
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise DeterministicError(
            f"data[{name!r}] cannot be read from its beginning to its end and again",
            (f"found: {type(dataset).__name__}", "expected: a data set with __len__ and __getitem__, or a tensor"),
            "Pass such a one, or fingerprint its files, and pass the fingerprint.",
        )
    digest = blake2b(digest_size=16)
    with _apart(), closing(_counted(name, len(dataset))) as indices:
        for index in indices:
            sample = dataset[index]
            try:
                digest.update(fingerprint(sample).encode())
            except (TypeError, ValueError) as error:
                values = (f"found: {cut(str(error).splitlines()[0])}", f"index: {index}")
                remedy = "Pass a data set whose samples are tensors, arrays, numbers, texts and containers of these."
                raise DeterministicError(f"a sample of data[{name!r}] has no digest", values, remedy) from error
    return f"{digest.hexdigest()}-{len(dataset)}"


@contextmanager
def _apart() -> Iterator[None]:
    """Let what is drawn inside be the same each time, and not seen outside."""
    saved = snapshot.capture(source for source in SOURCES if source.kind == "rng")
    snapshot.apply(saved, Config(seed=0))
    try:
        yield
    finally:
        snapshot.restore(saved)


def _counted(name: str, total: int) -> Generator[int, None, None]:
    """Yield each index, and count on stderr, if that is a terminal and it takes longer than a moment."""
    is_seen = getattr(sys.stderr, "isatty", bool)()
    last, width = time.monotonic(), 0
    try:
        for index in range(total):
            yield index
            if is_seen and time.monotonic() - last > _SECONDS_BETWEEN:
                last = time.monotonic()
                line = f"{name}: {index + 1:,} of {total:,} samples ({(index + 1) / total:.0%})"
                width = max(width, len(line))
                sys.stderr.write(f"\r{line}")
                sys.stderr.flush()
    finally:
        if width:
            sys.stderr.write(f"\r{' ' * width}\r")
