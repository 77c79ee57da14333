"""Records of what is no operation: parameters, gradients, states, batches, what was observed or returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch

from ...errors import clipped
from ...values.encodings import fields_of, has_state
from ...values.hashes import collect
from ...values.value import NOT_COMPARED, UNREADABLE, Hash, Type, is_number, number_bits, number_type, read, read_any
from ..file.model import Kind, Site, Value
from .log import Kept, Log
from .modules import OUTSIDE, ModuleName
from .places import Places, Spot


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
        note_read: Called with each tensor that is read.
    """

    def __init__(
        self,
        log: Log,
        places: Places,
        pause: Pause,
        kept: Kept | None = None,
        note_read: Callable[[torch.Tensor], object] = lambda tensor: None,
    ) -> None:
        self._log = log
        self._places = places
        self._pause = pause
        self._kept = kept
        self._note_read = note_read
        self._sites: dict[Any, tuple[int, int]] = {}
        self.missed: dict[str, list[str]] = {"not_compared": [], "unreadable": []}
        """Texts for the footer: what has no fingerprint or no values, and what has values that cannot be read."""

    def here(self) -> Spot | None:
        """Return the innermost spot outside of torch."""
        return self._places.here()

    def read(self, tensors: Sequence[torch.Tensor]) -> list[int]:
        """Return the hashes that a record of tensors would have."""
        with self._pause, torch.no_grad():
            return collect([read(tensor)[1] for tensor in tensors])

    def add(
        self,
        kind: Kind,
        title: str,
        values: Iterable[tuple[str, Any]],
        *,
        phase: str = "",
        module: ModuleName = OUTSIDE,
        spot: Spot | None = None,
        seen: MutableMapping[torch.Tensor, Hash] | None = None,
    ) -> int:
        """Add a record of named values: tensors, numbers, arrays, anything with a fingerprint, in any containers.

        The hashes of tensors are put into `seen`.

        Returns:
            How many of them can be compared.
        """
        parts: list[tuple[Type | str, str]] = []
        hashes: list[Hash] = []
        tensors: list[torch.Tensor | None] = []
        with self._pause, torch.no_grad():
            for name, value in values:
                for path, leaf in leaves(name, value):
                    kind_of_leaf, bits = _read(leaf)
                    parts.append((kind_of_leaf, path))
                    hashes.append(bits)
                    tensors.append(leaf if isinstance(leaf, torch.Tensor) else None)
                    if tensors[-1] is not None:
                        self._note_read(tensors[-1])
                        if seen is not None:
                            seen[tensors[-1]] = bits
            if self._kept is not None:
                self._kept.offer(len(self._log), tensors)
        key = kind, title, phase, module, spot, tuple(parts)
        found = self._sites.get(key)
        if found is None:
            written = tuple(Value("output", str(of), name) for of, name in parts)
            site = self._log.site(Site(kind, title, phase, *module, values=written, **self._places.lines(spot)))
            found = self._sites[key] = site, self._note(kind, title, written)
        self._log.add(found[0], hashes)
        return found[1]

    def _note(self, kind: Kind, title: str, values: Sequence[Value]) -> int:
        """Note which values cannot be compared, and return how many can."""
        missed = [value for value in values if value.type.endswith(NOT_COMPARED)]
        for value in missed:
            noted = self.missed["unreadable" if value.type.endswith(UNREADABLE) else "not_compared"]
            # The names of what optimizers and modules hold say all; others are parts of what the title says.
            words = (kind, title if kind in ("input", "result", "module", "batch", "observed") else "", value.name)
            text = clipped(f"{' '.join(filter(None, words))}: {value.type.partition(', ')[0]}", 160)
            if text not in noted and len(noted) < 20:
                noted.append(text)
        return len(values) - len(missed)


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is in containers, with its path; a large container, or one deep inside others, stays whole."""
    # Which do must not depend on what is one object and what another, equal one: two runs may differ in that.
    left = 10_000  # their names alone take some hundred KB of a trace

    def inside(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
        nonlocal left
        is_container = isinstance(value, (list, tuple, Mapping)) and not isinstance(value, torch.Size)
        if not is_container or has_state(type(value)) or depth == 16 or len(value) > left:
            yield name, value
            return
        left -= len(value)
        is_mapping = isinstance(value, Mapping)
        for key, item in value.items() if is_mapping else enumerate(value):
            yield from inside(f"{name}[{key!r}]" if name or not is_mapping else str(key), item, depth + 1)
        for field, item in fields_of(value).items() if is_dataclass(value) else ():
            yield from inside(f"{name}.{field}", item, depth + 1)

    return inside(name, value, 0)


def _read(value: Any) -> tuple[Type | str, Hash]:
    if isinstance(value, torch.Tensor):
        return read(value)
    if is_number(value):
        return number_type(value), number_bits(value)
    return read_any(value)
