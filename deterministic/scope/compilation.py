"""torch.compile and this library: its code is never traced, a scope is a graph break."""

from __future__ import annotations

from types import ModuleType

from ..ground.imports import once_imported


def keep_out_of_graphs() -> None:
    """Make dynamo skip this package, when dynamo is imported.

    Traced, `__enter__` would break the graph at the first lock, and warn about each function that dynamo cannot trace;
    skipped, it breaks once and runs as it is.
    """
    once_imported("torch._dynamo.trace_rules", _skip_package)


def _skip_package(trace_rules: ModuleType) -> None:
    trace_rules.add(__package__.partition(".")[0])
