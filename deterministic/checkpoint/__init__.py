"""Exact resume: `Checkpoint`, and `save_checkpoint` and `load_checkpoint` underneath."""

from __future__ import annotations

from .checkpoint import Checkpoint
from .load import load_checkpoint
from .save import save_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]
