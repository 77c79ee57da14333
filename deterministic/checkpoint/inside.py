"""What is inside a checkpoint, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, explain
from ..ground.tables import aligned
from . import bundle
from .directory import main_file, saved_steps


@dataclass(frozen=True)
class Inside:
    """What a file says of itself.

    Attributes:
        path: The file.
        head: Step, epoch, conditions.
        sizes: Bytes of tensors, by the name of the object that they belong to.
        checksum: Of the whole file; it was right.
        others: The steps of the other checkpoints of its directory.
    """

    path: Path
    head: Mapping[str, Any]
    sizes: Mapping[str, int]
    checksum: str
    others: Sequence[int] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "path": str(self.path),
            "checksum": self.checksum,
            **self.head,
            "bytes": dict(self.sizes),
            "other_checkpoints": [*self.others],
        }

    def __str__(self) -> str:
        conditions = self.head.get("conditions", {})
        rows = [("file", str(self.path)), ("checksum", f"{self.checksum}, of all of it: ok")]
        if "steps" in self.head:
            within = ", ".join(self.head.get("loaders", []))
            rows.append(("step", f"{self.head['steps']:,}"))
            rows.append(("epoch", f"{self.head['epoch']}" + (f", within it: {within}" if within else ", at its start")))
            rows.append(("ranks", str(len(self.head.get("ranks", [""])))))
        rows.append(("seed", f"{conditions.get('seed')}, deterministic={conditions.get('deterministic')!r}"))
        versions = {name: value for name, value in conditions.get("versions", {}).items() if value is not None}
        rows.append(("versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
        rows += [(f"  {name}", f"{size:,} bytes") for name, size in self.sizes.items()]
        rows.append(("tensors", f"{sum(self.sizes.values()):,} bytes"))
        if self.others:
            rows.append(("others", "steps " + ", ".join(f"{step:,}" for step in self.others)))
        return "\n".join(aligned(rows, indent=""))


def inside(path: Path) -> Inside:
    """Return what is inside of a checkpoint, or of the last one of a directory; no tensor is made.

    Raises:
        CheckpointError: It is damaged, is none, or the directory has none.
    """
    others: list[int] = []
    if path.is_dir():
        *others, last = saved_steps(path) or [-1]
        if last < 0:
            raise CheckpointError(
                explain(
                    f"{path} has no checkpoint", ("found: no file step-*.safetensors",), "Pass where a Checkpoint is."
                )
            )
        path = main_file(path, last)
    found = bundle.read(path, with_values=False)
    sizes: dict[str, int] = {}
    for name, size in found.sizes.items():
        first, *rest = name.split(".")
        owner = rest[0] if first == "objects" and rest else first
        sizes[owner] = sizes.get(owner, 0) + size
    return Inside(path, found.head, sizes, found.checksum, others)
