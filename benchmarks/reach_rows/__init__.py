"""The rows of `benchmarks.reach`, a file for each few kinds; importing them fills its table."""

from . import augmentation, classical, frames, learning, probability, science, search, streams, text, training

__all__ = [
    "augmentation",
    "classical",
    "frames",
    "learning",
    "probability",
    "science",
    "search",
    "streams",
    "text",
    "training",
]
