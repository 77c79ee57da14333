"""What torch.distributed.checkpoint wrote, read as data: its pickles may describe tensors and plain values alone.

https://docs.python.org/3/library/pickle.html#restricting-globals. Read in torch 2.13,
torch/distributed/checkpoint/filesystem.py and default_planner.py, of which these are the documented extension points.
"""

from __future__ import annotations

import importlib
import io
import pickle
import re
from pathlib import Path, PurePath
from typing import Any, NoReturn

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan

from .directory import refusal
from .tensors import DTYPES

_DESCRIBING = {
    "torch": ("Size", *DTYPES),
    "torch.serialization": ("_get_layout",),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.distributed.checkpoint.metadata": (
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    ),
}
"""All that metadata of tensors and values need, by module: none of these does more than to hold what it is given."""


class _Describing(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _DESCRIBING.get(module, ()):
            return getattr(importlib.import_module(module), name)
        if module.partition(".")[0] == "pathlib" and name in ("PosixPath", "WindowsPath"):
            return PurePath  # where it was written, perhaps on another system
        _refuse("its metadata", f"{module}.{name}")


class DataReader(FileSystemReader):
    """Reads a directory whose metadata are data."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the metadata; raise CheckpointError if they are something else."""
        with open(Path(self.path, ".metadata"), "rb") as file:
            found = _Describing(file).load()
        if not isinstance(found, Metadata):
            _refuse("its metadata", type(found).__name__)
        return found


class DataPlanner(DefaultLoadPlanner):
    """Takes values beside tensors if they are data, and all that there is of an object."""

    def create_local_plan(self) -> LoadPlan:
        """Return what is read, which must be all that there is of an object.

        Torch would leave the rest, as the state of an optimizer that has gradients and none.
        """
        plan = super().create_local_plan()
        names = self.metadata.state_dict_metadata if self.metadata else ()
        left = [
            name for name in names if name.split(".")[0] in self.original_state_dict and name not in self.state_dict
        ]
        if left:
            raise refusal(
                "the directory has more of an object than was passed",
                f"{len(left)} names, the first {left[0]}",
                "Make it as it was saved. An optimizer without a state gets one if no parameter has a gradient: "
                "call zero_grad().",
            )
        return plan

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        """Put a value where it belongs: torch would unpickle whatever it is, so it gets what was made of it here."""
        again = io.BytesIO()
        try:
            torch.save(torch.load(value, weights_only=True), again)
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            _refuse(read_item.storage_index.fqn, named[1] if named else str(error).splitlines()[0])
        again.seek(0)
        super().load_bytes(read_item, again)


def _refuse(what: str, found: str) -> NoReturn:
    raise refusal(
        f"{what} would have to be unpickled, which may run any code",
        found,
        "If you trust who wrote it: torch.distributed.checkpoint.load, and then save_checkpoint.",
    )
