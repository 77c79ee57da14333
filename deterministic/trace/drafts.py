"""A record of an operation while it is put together: what it drew from, read and wrote, and then its site."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from .attribution import Where
from .bits import undispatched
from .log import Kept, Log
from .model import Role, Site, Value
from .places import Places, Spot
from .storages import Storages
from .values import Hash, Type, is_number, is_plain, number_bits, number_type, read


class Part(NamedTuple):
    """One value of a record as it is met: cheap to compare with the last time's, written out when it is new."""

    role: Role
    type: Type | str
    argument: str = ""
    position: int | None = None
    called: str = ""
    origin: str = ""
    spot: Spot | None = None


class Draft:
    """A record as it is put together.

    Args:
        drafts: What made it.
    """

    __slots__ = ("_drafts", "constants", "hashes", "parts", "tensors")

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        self.parts: list[Part] = []
        self.hashes: list[Hash] = []
        self.tensors: list[torch.Tensor | None] = []
        self.constants: list[tuple[str, Any]] = []

    def drew(self, state: int, name: str) -> None:
        """Note the hash of the state that a generator had before it was drawn from."""
        self._add(Part("generator", "state", name), state)

    def number(self, role: Role, number: Any, argument: str = "", position: int | None = None) -> None:
        """Note a number that was given, or returned."""
        self._add(Part(role, number_type(number), argument, position), number_bits(number))

    def input(self, tensor: torch.Tensor, argument: str, position: int | None = None) -> None:
        """Note a tensor that is about to be read, if it came from elsewhere or all of them are asked for."""
        if is_plain(tensor):
            origin, spot = self._drafts.storages.origin(tensor)
            if origin or self._drafts.inputs:
                called = self._drafts.storages.name(tensor)
                kind, bits = read(tensor)
                part = Part("input", kind, argument, position, called, origin, spot)
                self._add(part, bits, tensor if self._drafts.kept is None else self._drafts.copy(tensor))

    def output(self, tensor: torch.Tensor) -> None:
        """Note a tensor that was written."""
        if is_plain(tensor):
            kind, bits = read(tensor)
            self._add(Part("output", kind, called=self._drafts.storages.name(tensor)), bits, tensor)

    def finish(self, name: str, where: Where) -> None:
        """Add the record to the trace."""
        self._drafts.finish(self, name, where)

    def _add(self, part: Part, value: Hash, tensor: torch.Tensor | None = None) -> None:
        self.parts.append(part)
        self.hashes.append(value)
        self.tensors.append(tensor)


class Drafts:
    """Where drafts come from, and go to.

    Args:
        log: Where records go.
        places: Writes lines.
        storages: Remembers where memory got its content.
        inputs: Hash whatever an operation reads; otherwise only what no recorded operation has written.
        kept: A value to keep.
    """

    def __init__(
        self, log: Log, places: Places, storages: Storages, *, inputs: bool = False, kept: Kept | None = None
    ) -> None:
        self.storages = storages
        self.inputs = inputs
        self.kept = kept
        self._log = log
        self._places = places
        self._sites: dict[Any, int] = {}

    def copy(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return a copy of what an operation is about to read, and may write, if it may be the value to keep."""
        if self.kept is None or not self.kept.wants(len(self._log)):
            return None
        with undispatched():
            return tensor.detach().clone()

    def finish(self, draft: Draft, name: str, where: Where) -> None:
        """Add a record to the trace."""
        if self.kept is not None:
            self.kept.offer(len(self._log), draft.tensors)
        key = (name, where, tuple(draft.constants), tuple(draft.parts))
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = self._log.site(
                Site(
                    "operation",
                    name,
                    where.phase,
                    *where.module,
                    *self._places.text(where.spot),
                    where.node,
                    ", ".join(f"{argument}={value}" for argument, value in draft.constants),
                    tuple(self._value(part) for part in draft.parts),
                )
            )
        self._log.add(site, draft.hashes)

    def _value(self, part: Part) -> Value:
        argument = part.argument if part.position is None else f"{part.argument}[{part.position}]"
        origin = f"{part.origin} {self._places.text(part.spot)[0]}".rstrip()
        return Value(part.role, str(part.type), " ".join(filter(None, [argument, part.called])), origin)


def constant(value: Any) -> Any:
    """Return what stands in a site for an argument that is no tensor and no number: the same each time."""
    if isinstance(value, (list, tuple)):
        return tuple(map(constant, value))
    if value is None or is_number(value) or isinstance(value, (str, torch.dtype, torch.device, torch.layout)):
        return value
    if isinstance(value, torch.memory_format):
        return value
    return type(value).__name__  # the text of anything else may have its address in it
