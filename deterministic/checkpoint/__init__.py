"""Exact resume: `Checkpoint`, and `save_checkpoint` and `load_checkpoint` underneath."""

from __future__ import annotations

from .checkpoint import Checkpoint
from .save import load_checkpoint, save_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]
