"""The content of one file: a head of JSON that can be read alone, and values of any kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import CheckpointError, explain
from . import container
from .files import Staged
from .storages import LoadedStorages, Storages
from .values import decode, encode

FORMAT = 1

_WRONG = (ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError, RuntimeError, MemoryError)
"""What a content that was made up can raise, of Python, numpy and torch."""


class Bundle(NamedTuple):
    """What a file contains.

    Attributes:
        head: JSON.
        values: By name; empty if only the head was read.
        checksum: Of the whole file.
        sizes: How many bytes the tensors have, by the name of their part.
    """

    head: Mapping[str, Any]
    values: Mapping[str, Any]
    checksum: str
    sizes: Mapping[str, int]


class Prepared:
    """Values that are ready to be written: all that can be wrong with them was found.

    The tensors are not copied: write them before they change.

    Args:
        values: By name.

    Raises:
        CheckpointError: One of them cannot be stored; its path and its class are named.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._storages = Storages()
        self._values = {name: encode(value, name, self._storages) for name, value in values.items()}
        self.checksum = ""

    def stage(self, path: Path, head: Mapping[str, Any]) -> Staged:
        """Write a file under a temporary name.

        Args:
            path: Where it shall be.
            head: JSON.

        Raises:
            CheckpointError: The operating system refuses, or there is too much beside the tensors.
        """
        texts = {
            "format": f"deterministic checkpoint {FORMAT}",
            "head": json.dumps(head),
            "storages": json.dumps(self._storages.table()),
            "values": json.dumps(self._values, allow_nan=False),
        }

        def write(file: Any) -> None:
            self.checksum = container.write(file, texts, self._storages.parts(), self._storages.feed)

        try:
            return Staged(path, write)
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(
                explain(
                    f"the checkpoint {path} cannot hold this",
                    (f"found: {error}",),
                    "Keep large data in tensors or arrays, not in lists or texts.",
                )
            ) from error


def read(path: str | os.PathLike[str], *, with_values: bool = True) -> Bundle:
    """Read a file, all of it checked against its checksum.

    Args:
        path: Of the file.
        with_values: Whether to return the values; else no tensor is made.

    Raises:
        CheckpointError: It is no checkpoint, is damaged, or a newer version wrote it.
    """
    found = container.read(path, with_data=with_values)
    kind = found.texts.get("format", "")
    if kind != f"deterministic checkpoint {FORMAT}":
        raise CheckpointError(
            explain(
                f"{os.fspath(path)} is in a format that this version does not read",
                (f"found: {kind!r}", f"expected: 'deterministic checkpoint {FORMAT}'"),
                "Read it with the version that wrote it, or a later one.",
            )
        )
    try:
        head = json.loads(found.texts["head"])
        values = json.loads(found.texts["values"]) if with_values else {}
        if not isinstance(head, dict) or not isinstance(values, dict):
            raise ValueError("a head or values that are no mapping")
        storages = LoadedStorages(json.loads(found.texts["storages"]) if with_values else [], found.data, _place())
        decoded = {name: decode(value, storages) for name, value in values.items()}
    except _WRONG as error:
        raise CheckpointError(
            explain(
                f"the checkpoint {os.fspath(path)} holds what no version has written",
                (f"found: {type(error).__name__}: {error}",),
                "Its checksum is right, so it was made by hand, or memory is short: take one that Checkpoint wrote.",
            )
        ) from error
    return Bundle(head, decoded, found.checksum, {part.name: part.nbytes for part in found.parts})


def _place() -> Callable[[torch.device], torch.device]:
    """Return what tells where to put tensors: on the device that they were on, else on the CPU.

    With several ranks, each has the accelerator that is its own where rank 0, which wrote the file, had another.
    """
    # torch 2.6 raises where it finds none.
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    several = torch.distributed.is_available() and torch.distributed.is_initialized()

    def place(device: torch.device) -> torch.device:
        if device.type == "cpu" or accelerator is None or device.type != accelerator.type:
            return torch.device("cpu")
        if several or (device.index or 0) >= torch.accelerator.device_count():
            return torch.device(device.type, _current_index())
        return device

    return place


def _current_index() -> int:
    """Return the index of this thread's accelerator, which torch 2.6 calls otherwise."""
    current: Callable[[], int] | None = getattr(torch.accelerator, "current_device_index", None)
    return torch.accelerator.current_device_idx() if current is None else current()
