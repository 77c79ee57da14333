"""The recorders that are at work. Importing it does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .recorder import Recorder

ACTIVE: list[Recorder] = []
"""The innermost last."""
