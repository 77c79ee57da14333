"""numpy's ufunc buffer: its size decides how a reduction with a cast is cut into blocks, and so its rounding."""

from __future__ import annotations

import numpy as np

from .base import Flag, FlagSource


class NumpyBuffer(FlagSource):
    """`numpy.setbufsize`, in elements. Per thread and asyncio task (a context variable since numpy 2)."""

    name = "numpy.buffer"
    per_thread = True

    def __init__(self) -> None:
        super().__init__((Flag("bufsize", np.getbufsize, np.setbufsize),))
