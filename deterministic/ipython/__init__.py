"""The IPython extension: `%load_ext deterministic`, then `%%reproducible --seed 42` as the first line of a cell."""

from __future__ import annotations

from .extension import load_ipython_extension, unload_ipython_extension

__all__ = ["load_ipython_extension", "unload_ipython_extension"]
