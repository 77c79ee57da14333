"""States of generators: of the one that an operation is about to draw from, and of all that the process has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import xxhash

from ...sources import SOURCES
from ...values.hashes import hash_of_text
from .operations import tensors_in


class Watched:
    """The generator that an operation with these arguments may draw from, and its state before."""

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.generator, self.name = generator_of(args, kwargs)
        self.state = None if self.generator is None else state_hash(self.generator)

    def has_moved(self) -> bool:
        """Return whether it was drawn from."""
        return self.generator is not None and state_hash(self.generator) != self.state


def generator_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[torch.Generator | None, str]:
    """Return the generator that an operation with these arguments draws from, and what to call it.

    Returns:
        It, and "default cpu" or "own cuda:0"; None where a device has none yet.
    """
    for value in (kwargs.get("generator"), *args):
        if isinstance(value, torch.Generator):
            default = _default(value.device)
            same = default is not None and (value is default or _handle(value) == _handle(default))
            return value, f"{'default' if same else 'own'} {value.device}"
    device = kwargs.get("device") or next((tensor.device for tensor in tensors_in([*args])), torch.device("cpu"))
    device = torch.device(device)
    return _default(device), f"default {device}"


def state_hash(generator: torch.Generator) -> int:
    """Return 64 bits of a generator's state; waits for no device."""
    return xxhash.xxh3_64_intdigest(generator.get_state().numpy().data)


def _handle(generator: Any) -> object:
    """Return what two Python objects for one generator have in common."""
    return generator._cdata


def _default(device: torch.device) -> torch.Generator | None:
    if device.type == "cpu":
        return torch.default_generator
    module = getattr(torch, device.type, None)
    if device.type == "mps":
        return getattr(torch.mps, "_get_default_mps_generator", lambda: None)()
    generators = getattr(module, "default_generators", ())
    index = module.current_device() if module is not None and device.index is None and generators else device.index
    return generators[index] if generators and index is not None and index < len(generators) else None


def global_states() -> dict[str, str]:
    """Return a digest of the state of each process-global generator, by name. Initialises no device."""
    states = {source.name: source.describe(source.capture()) for source in SOURCES if source.kind == "rng"}
    return {name: f"{hash_of_text(json.dumps(state, sort_keys=True)):016x}" for name, state in states.items()}
