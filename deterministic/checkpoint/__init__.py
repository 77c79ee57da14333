"""Exact resume: `Checkpoint`, and `save_checkpoint` and `load_checkpoint` underneath; torch's own directories."""

from __future__ import annotations

from .checkpoint import Checkpoint
from .dcp import from_dcp, to_dcp
from .load import load_checkpoint
from .save import save_checkpoint

__all__ = ["Checkpoint", "from_dcp", "load_checkpoint", "save_checkpoint", "to_dcp"]
