"""Records while they are put together: those of operations piece by piece, those of named values at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch

from ...errors import clipped
from ...values.bits import is_plain, undispatched
from ...values.hashes import Hash, Type, collect, read
from ...values.kinds import fields_of, has_state
from ...values.numbers import NOT_COMPARED, UNREADABLE, is_number, number_bits, number_type
from ..file.model import Kind, Role, Site, Value
from .attribution import Where
from .kept import Kept
from .log import Log
from .modules import OUTSIDE, ModuleName
from .operations import Watched
from .places import Places, Spot
from .storages import Storages
from .torch_internals import storage_key, wait_for

_LENGTH_OF_CONSTANT = 2


class Draft:
    """The record of an operation as it is put together: what it drew from, read and wrote."""

    __slots__ = ("_records", "hashes", "parts", "tensors")

    def __init__(self, records: Records) -> None:
        self._records = records
        # Plain tuples: each the arguments of `Records._value`, or for an argument without a hash its name and text.
        # They, and nothing else, are all that is made for each operation.
        self.parts: list[tuple[Any, ...]] = []
        self.hashes: list[Hash] = []
        self.tensors: list[torch.Tensor | None] = []

    def drew(self, watched: Watched) -> None:
        """Note, before all else, the state that a generator had before it was drawn from, if it was."""
        if watched.generator is not None and watched.state is not None and watched.has_moved():
            seed = self._records.seed_by_code(watched.generator, watched.name)
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
        records = self._records
        if is_plain(tensor):
            origin, spot, name = records.storages.read(tensor)
            if origin or records.inputs:
                kind, bits = read(tensor)
                part = ("input", kind, argument, position, name, origin, spot)
                self._add(part, bits, None if records.kept is None else records.copy(tensor))

    def wrote(self, tensor: torch.Tensor, *, wholly: bool) -> None:
        """Note a tensor that was given and written, all of it or a part."""
        if is_plain(tensor):
            name = self._records.storages.wrote(tensor, wholly=wholly)
            # What was not written is whatever the memory held, and may differ without harm.
            if name is not None:
                self._output(tensor, name)
            if self._records.leaves and storage_key(tensor) in self._records.leaves:
                self._records.leaves_until = self._records.log.total + 1

    def made(self, tensor: torch.Tensor) -> None:
        """Note a tensor that was returned."""
        if is_plain(tensor):
            self._output(tensor, self._records.storages.made(tensor))

    def _output(self, tensor: torch.Tensor, name: str) -> None:
        kind, bits = read(tensor)
        self._add(("output", kind, "", None, name), bits, tensor)

    def _add(self, part: tuple[Any, ...], value: Hash, tensor: torch.Tensor | None = None) -> None:
        self.parts.append(part)
        self.hashes.append(value)
        if self._records.kept is not None:
            self.tensors.append(tensor)


class Pause:
    """While it is entered, operations are the recorder's own and are not recorded."""

    def __init__(self) -> None:
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self.depth -= 1


class Records:
    """Makes sites of drafts and of named values, and adds both to the trace.

    With `inputs` whatever an operation reads is hashed, otherwise only what no recorded operation has written. Seeds
    are noted if there is a `first_seed`, torch's when it began: each makes a site of its own.
    """

    def __init__(
        self, log: Log, places: Places, storages: Storages, inputs: bool, kept: Kept | None, first_seed: int | None
    ) -> None:
        self.log = log
        self.places = places
        self.storages = storages
        self.inputs = inputs
        self.kept = kept
        self.pause = Pause()
        self.leaves: Collection[Any] = ()
        self.leaves_until = 0
        """How many records there were when the memory of `leaves` was last written."""
        self.missed: dict[str, list[str]] = {"not_compared": [], "unreadable": []}
        """Texts for the footer: what has no fingerprint or no values, and what has values that cannot be read."""
        self._first_seed = first_seed
        self._sites: dict[Any, tuple[int, int]] = {}

    def seed_by_code(self, generator: torch.Generator, name: str) -> str:
        """Return "seed 7" if the code gave a generator that seed, "seed" if it gave none; empty if nobody asks."""
        if self._first_seed is None:
            return ""
        # A default generator that nobody seeded has a seed of its own in each process.
        is_as_it_was = name.startswith("default") and torch.default_generator.initial_seed() == self._first_seed
        return "seed" if is_as_it_was else f"seed {generator.initial_seed()}"

    def copy(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return a copy of what an operation is about to read, and may write, if it may be the value to keep."""
        if self.kept is None or not self.kept.wants(len(self.log)):
            return None
        with undispatched():
            return tensor.detach().clone()

    def add_operation(self, draft: Draft, name: str, where: Where) -> None:
        if self.kept is not None and not self.log.part:  # of a step that was cut, records are counted anew in each part
            self.kept.offer(len(self.log), draft.tensors, where.phase)
        key = (name, where, *draft.parts)
        known = self._sites.get(key)
        if known is None:
            known = self._sites[key] = self.log.site(self._site(draft, name, where)), 0
        self.log.add(known[0], draft.hashes)

    def _site(self, draft: Draft, name: str, where: Where) -> Site:
        constants = [part for part in draft.parts if len(part) == _LENGTH_OF_CONSTANT]
        return Site(
            "operation",
            name,
            where.phase,
            *where.module,
            node=where.node,
            arguments=", ".join(f"{argument}={value}" for argument, value in constants),
            values=tuple(self._value(*part) for part in draft.parts if len(part) > _LENGTH_OF_CONSTANT),
            **self.places.lines(where.spot),
        )

    def _value(
        self,
        role: Role,
        kind: Type | str,
        argument: str = "",
        position: int | None = None,
        name: str = "",
        origin: str = "",
        spot: Spot | None = None,
    ) -> Value:
        argument = argument if position is None else f"{argument}[{position}]"
        origin = f"{origin} {self.places.place(spot)}".rstrip()
        return Value(role, str(kind), " ".join(filter(None, [argument, name])), origin)

    def read(self, tensors: Sequence[torch.Tensor]) -> list[int]:
        """Return the hashes that a record of tensors would have."""
        with self.pause, torch.no_grad():
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
        """Add a record of named values of any kind, in any containers, and return how many of them can be compared.

        The hashes of tensors are put into `seen`.
        """
        parts: list[tuple[Type | str, str]] = []
        hashes: list[Hash] = []
        tensors: list[torch.Tensor | None] = []
        named = [leaf for name, value in values for leaf in leaves(name, value)]
        for _, leaf in named:
            wait_for(leaf)
        with self.pause, torch.no_grad():
            for path, leaf in named:
                type_, bits = read(leaf)
                parts.append((type_, path))
                hashes.append(bits)
                tensors.append(leaf if isinstance(leaf, torch.Tensor) else None)
                if isinstance(leaf, torch.Tensor):
                    self.storages.is_seen(leaf)
                    if seen is not None:
                        seen[leaf] = bits
            if self.kept is not None and not self.log.part:
                self.kept.offer(len(self.log), tensors, kind)
        key = kind, title, phase, module, spot, tuple(parts)
        known = self._sites.get(key)
        if known is None:
            written = tuple(Value("output", str(of), name) for of, name in parts)
            site = Site(kind, title, phase, *module, values=written, **self.places.lines(spot))
            known = self._sites[key] = self.log.site(site), self._note(kind, title, written)
        self.log.add(known[0], hashes)
        return known[1]

    def add_number(self, kind: Kind, bits: Hash, spot: Spot | None) -> None:
        """Add a record of a float by its 64 bits."""
        known = self._sites.get((kind, spot))
        if known is None:
            site = Site(kind, "", values=(Value("output", "float"),), **self.places.lines(spot))
            known = self._sites[kind, spot] = self.log.site(site), 1
        self.log.add(known[0], [bits])

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


def constant(value: Any) -> Any:
    """Return what stands in a site for an argument that is no tensor and no number: the same each time."""
    if isinstance(value, (list, tuple)):
        return tuple(map(constant, value))
    if value is None or is_number(value):
        return value
    if isinstance(value, (str, torch.dtype, torch.device, torch.layout, torch.memory_format)):
        return value
    return type(value).__name__  # the text of anything else may have its address in it


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
