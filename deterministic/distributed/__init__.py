"""Trainings on many ranks: the same weights on any number of them."""

from .clipping import clip_grad_norm_ as clip_grad_norm_
from .invariant import invariant as invariant
from .invariant import world_invariant as world_invariant
from .reduction import ordered_reduction as ordered_reduction

__all__ = ["clip_grad_norm_", "invariant", "ordered_reduction", "world_invariant"]
