"""For other people's test suites."""

from __future__ import annotations

from .sources.conformance import check_source

__all__ = ["check_source"]
