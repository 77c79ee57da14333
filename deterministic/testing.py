"""For other people's test suites."""

from __future__ import annotations

from .data.conformance import check_dataset, check_sampler, check_stream
from .sources.registry import check_source

__all__ = ["check_dataset", "check_sampler", "check_source", "check_stream"]
