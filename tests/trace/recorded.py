"""What a recorder records of a function, kept in memory."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.modules import module as torch_modules
from torch.optim import optimizer as torch_optimizer
from torch.utils import _python_dispatch

from deterministic.trace.file.model import Segment, Site, Step, TraceLevel
from deterministic.trace.recording.recorder import Recorder
from deterministic.trace.recording.seeding import ACTIVE


class Entry(NamedTuple):
    """A record with its own hashes."""

    site: Site
    hashes: Sequence[int]

    def values(self, role: str) -> list[tuple[str, str]]:
        """Return type and name of each value in a role."""
        return [(value.type, value.name) for value in self.site.values if value.role == role]

    def origins(self) -> list[str]:
        """Return where each input came from."""
        return [value.origin for value in self.site.values if value.role == "input"]


class Memory:
    """A writer that keeps all that is written."""

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.segments: list[Segment] = []

    def write(self, segment: Segment, new_sites: Sequence[Site]) -> None:
        self.sites += new_sites
        self.segments.append(segment)

    def entries(self) -> Iterator[tuple[Step, list[Entry]]]:
        for segment in self.segments:
            hashes = iter(segment.hashes)
            sites = [self.sites[record] for record in segment.records]
            yield segment.step, [Entry(site, [next(hashes) for _ in site.values]) for site in sites]


class Recorded:
    """What was recorded, and what was returned."""

    def __init__(self, memory: Memory, result: Any, recorder: Recorder) -> None:
        self.sites = memory.sites
        self.steps = list(memory.entries())
        self.result = result
        self.recorder = recorder

    def all(self, kind: str = "operation") -> list[Entry]:
        return [entry for _, entries in self.steps for entry in entries if entry.site.kind == kind]

    def named(self, name: str) -> list[Entry]:
        """Return the operations whose name begins with "aten." and `name`, or with `name`."""
        return [entry for entry in self.all() if entry.site.name.startswith((f"aten.{name}", name))]

    def one(self, name: str) -> Entry:
        found = self.named(name)
        assert len(found) == 1, [entry.site.name for entry in self.all()]
        return found[0]

    def names(self) -> list[str]:
        return [entry.site.name for entry in self.all()]

    def hashes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return all that two equal runs have in common."""
        return [(entry.site.name, tuple(entry.hashes)) for _, entries in self.steps for entry in entries]


def recorded(body: Callable[[], Any], level: TraceLevel = "ops", **how: Any) -> Recorded:
    """Record a function."""
    memory = Memory()
    recorder = Recorder(memory, level, **how)
    recorder.start()
    try:
        result = body()
        recorder.finish()
    finally:
        recorder.stop()
    recorder.end()
    return Recorded(memory, result, recorder)


def line_of(function: Callable[..., Any], mark: str) -> int:
    """Return the number of the line of a function that ends in a comment."""
    lines, first = inspect.getsourcelines(function)
    return first + next(index for index, line in enumerate(lines) if line.rstrip().endswith(f"# {mark}"))


def state_of_process() -> list[Any]:
    """Return what a recorder must leave as it was: hooks, modes, the threads' profiler, and who records."""
    return [
        [
            list(hooks.items())
            for name, hooks in sorted(vars(torch_modules).items())
            if name.startswith("_global_") and isinstance(hooks, dict)
        ],
        list(torch_optimizer._global_optimizer_pre_hooks.items()),
        list(torch_optimizer._global_optimizer_post_hooks.items()),
        _python_dispatch._get_current_dispatch_mode_stack(),
        _python_dispatch._is_in_torch_dispatch_mode,
        threading.getprofile(),
        [*ACTIVE],
        torch.is_grad_enabled(),
        torch.default_generator.get_state().tolist(),
    ]
