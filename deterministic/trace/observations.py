"""Records of what is no operation: parameters, gradients, states, batches, what was observed or returned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from .log import Kept, Log
from .model import Kind, Site, Value
from .modules import OUTSIDE, ModuleName
from .places import Places, Spot
from .values import NOT_COMPARED, Hash, Type, digest_of_value, is_number, number_bits, number_type, read


class Pause:
    """While it is entered, operations are the recorder's own and are not recorded."""

    def __init__(self) -> None:
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self.depth -= 1


class Observations:
    """Adds a record for a whole set of named values at once.

    Args:
        log: Where records go.
        places: Writes lines.
        pause: Entered while values are read.
        kept: A value to keep.
    """

    def __init__(self, log: Log, places: Places, pause: Pause, kept: Kept | None = None) -> None:
        self._log = log
        self._places = places
        self._pause = pause
        self._kept = kept
        self._sites: dict[Any, int] = {}

    def keep(self, kept: Kept | None) -> None:
        """Keep another value from now on."""
        self._kept = kept

    def add(
        self,
        kind: Kind,
        title: str,
        values: Iterable[tuple[str, Any]],
        *,
        phase: str = "",
        module: ModuleName = OUTSIDE,
        spot: Spot | None = None,
    ) -> bool:
        """Add a record of named values: tensors, numbers, arrays, anything with a fingerprint, in any containers.

        Returns:
            Whether there was a value that can be compared.
        """
        parts: list[tuple[Type | str, str]] = []
        hashes: list[Hash] = []
        tensors: list[torch.Tensor | None] = []
        with self._pause, torch.no_grad():
            for name, value in values:
                for path, leaf in _leaves(name, value):
                    kind_of_leaf, bits = _read(leaf)
                    parts.append((kind_of_leaf, path))
                    hashes.append(bits)
                    tensors.append(leaf if isinstance(leaf, torch.Tensor) else None)
            if self._kept is not None:
                self._kept.offer(len(self._log), tensors)
        key = kind, title, phase, module, spot, tuple(parts)
        site = self._sites.get(key)
        if site is None:
            written = tuple(Value("output", str(of), name) for of, name in parts)
            site = self._sites[key] = self._log.site(
                Site(kind, title, phase, *module, values=written, **self._places.lines(spot))
            )
        self._log.add(site, hashes)
        return any(not str(of).endswith(NOT_COMPARED) for of, _ in parts)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}[{key!r}]" if name else str(key), item)
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        for index, item in enumerate(value):
            yield from _leaves(f"{name}[{index}]", item)
    else:
        yield name, value


def _read(value: Any) -> tuple[Type | str, Hash]:
    if isinstance(value, torch.Tensor):
        return read(value)
    if is_number(value):
        return number_type(value), number_bits(value)
    digest = digest_of_value(value)
    name = "text" if isinstance(value, str) else type(value).__name__
    return (name, digest) if digest is not None else (f"{name}, {NOT_COMPARED}", 0)
