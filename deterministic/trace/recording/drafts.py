"""A record of an operation while it is put together: what it drew from, read and wrote, and then its site."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NamedTuple

import torch

from ...values.bits import undispatched
from ...values.value import Hash, Type, is_number, is_plain, number_bits, number_type, read
from ..file.model import Role, Site, Value
from .attribution import Where
from .generators import Watched
from .log import Kept, Log
from .places import Places, Spot
from .storages import Storages
from .torch_internals import storage_key


class Part(NamedTuple):
    """One value of a record as it is met."""

    role: Role
    type: Type | str
    argument: str = ""
    position: int | None = None
    called: str = ""
    origin: str = ""
    spot: Spot | None = None


_LENGTH_OF_CONSTANT = 2


class Draft:
    """A record as it is put together.

    Args:
        drafts: What made it.
    """

    __slots__ = ("_drafts", "hashes", "parts", "tensors")

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        # Plain tuples: each what a `Part` is made of, or for an argument without a hash its name and text. They, and
        # nothing else, are all that is made for each operation.
        self.parts: list[tuple[Any, ...]] = []
        self.hashes: list[Hash] = []
        self.tensors: list[torch.Tensor | None] = []

    def drew(self, watched: Watched) -> None:
        """Note, before all else, the state that a generator had before it was drawn from, if it was."""
        if watched.generator is not None and watched.state is not None and watched.has_moved():
            seed = self._drafts.seed_by_code(watched.generator, watched.name)
            self.parts.insert(0, ("generator", "state", watched.name, None, "", seed))
            self.hashes.insert(0, watched.state)
            self.tensors.insert(0, None)

    def number(self, role: Role, number: Any, argument: str = "", position: int | None = None) -> None:
        """Note a number that was given, or returned."""
        self._add((role, number_type(number), argument, position), number_bits(number))

    def constant(self, argument: str, value: Any) -> None:
        """Note an argument that is neither a tensor nor a number to compute with."""
        self.parts.append((argument, constant(value)))

    def input(self, tensor: torch.Tensor, argument: str, position: int | None = None) -> None:
        """Note a tensor that is about to be read, if it came from elsewhere or all of them are asked for."""
        drafts = self._drafts
        if is_plain(tensor):
            origin, spot, called = drafts.storages.read(tensor)
            if origin or drafts.inputs:
                kind, bits = read(tensor)
                part = ("input", kind, argument, position, called, origin, spot)
                self._add(part, bits, None if drafts.kept is None else drafts.copy(tensor))

    def wrote(self, tensor: torch.Tensor, *, wholly: bool) -> None:
        """Note a tensor that was given and written, all of it or a part."""
        if is_plain(tensor):
            called = self._drafts.storages.wrote(tensor, wholly=wholly)
            # What was not written is whatever the memory held, and may differ without harm.
            if called is not None:
                self._output(tensor, called)
            if storage_key(tensor) in self._drafts.leaves:
                self._drafts.leaves_until = self._drafts.log.total + 1

    def made(self, tensor: torch.Tensor) -> None:
        """Note a tensor that was returned."""
        if is_plain(tensor):
            self._output(tensor, self._drafts.storages.made(tensor))

    def _output(self, tensor: torch.Tensor, called: str) -> None:
        kind, bits = read(tensor)
        self._add(("output", kind, "", None, called), bits, tensor)

    def finish(self, name: str, where: Where) -> None:
        """Add the record to the trace."""
        self._drafts.finish(self, name, where)

    def _add(self, part: tuple[Any, ...], value: Hash, tensor: torch.Tensor | None = None) -> None:
        self.parts.append(part)
        self.hashes.append(value)
        if self._drafts.kept is not None:
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
        self.log = log
        self.leaves: Container[Any] = ()
        self.leaves_until = 0
        """How many records there were when the memory of `leaves` was last written."""
        self.first_seed: int | None = None
        """torch's seed when it began; None: do not note seeds, for each makes a site of its own."""
        self._places = places
        self._sites: dict[Any, int] = {}

    def seed_by_code(self, generator: torch.Generator, name: str) -> str:
        """Return "seed 7" if the code gave a generator that seed, "seed" if it gave none; empty if nobody asks."""
        if self.first_seed is None:
            return ""
        # A default generator that nobody seeded has a seed of its own in each process.
        is_as_it_was = name.startswith("default") and torch.default_generator.initial_seed() == self.first_seed
        return "seed" if is_as_it_was else f"seed {generator.initial_seed()}"

    def copy(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return a copy of what an operation is about to read, and may write, if it may be the value to keep."""
        if self.kept is None or not self.kept.wants(len(self.log)):
            return None
        with undispatched():
            return tensor.detach().clone()

    def finish(self, draft: Draft, name: str, where: Where) -> None:
        """Add a record to the trace."""
        if self.kept is not None:
            self.kept.offer(len(self.log), draft.tensors)
        key = (name, where, *draft.parts)
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = self.log.site(self._site(draft, name, where))
        self.log.add(site, draft.hashes)

    def _site(self, draft: Draft, name: str, where: Where) -> Site:
        constants = [part for part in draft.parts if len(part) == _LENGTH_OF_CONSTANT]
        values = [Part(*part) for part in draft.parts if len(part) > _LENGTH_OF_CONSTANT]
        return Site(
            "operation",
            name,
            where.phase,
            *where.module,
            node=where.node,
            arguments=", ".join(f"{argument}={value}" for argument, value in constants),
            values=tuple(map(self._value, values)),
            **self._places.lines(where.spot),
        )

    def _value(self, part: Part) -> Value:
        argument = part.argument if part.position is None else f"{part.argument}[{part.position}]"
        origin = f"{part.origin} {self._places.place(part.spot)}".rstrip()
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
