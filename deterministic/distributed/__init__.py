"""Trainings on many ranks: the same weights on any number of them."""

from .invariant import invariant as invariant
from .invariant import world_invariant as world_invariant
from .reduction import ordered_reduction as ordered_reduction

__all__ = ["invariant", "ordered_reduction", "world_invariant"]
