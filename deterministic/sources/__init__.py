"""Everything that a scope controls, in one list: settings first, then generators.

Applied in this order and restored in reverse. Importing this package imports torch and numpy, so the rest of the
library imports it at the first entry only.
"""

from __future__ import annotations

from ..ground.source import Source
from .accelerators import LazyAccelerator, Mps, PrivateUse1
from .environment import Environment
from .fp32_precision import Fp32Precision
from .inductor import Inductor
from .numpy_random import NumpyRandom
from .python_random import PythonRandom
from .settings import (
    Algorithms,
    Attention,
    Autocast,
    Cudnn,
    DefaultDevice,
    DefaultDtype,
    FlushDenormal,
    Libraries,
    Mkldnn,
    NumpyBuffer,
    ReducedPrecision,
    Threads,
)
from .torch_cpu import TorchCpu

__all__ = ["ALGORITHMS", "SOURCES"]

ALGORITHMS = Algorithms()

SOURCES: list[Source] = [
    Environment(),
    ALGORITHMS,
    Inductor(),
    Cudnn(),
    Fp32Precision(),
    ReducedPrecision(),
    Attention(),
    Mkldnn(),
    Libraries(),
    Threads(),
    DefaultDtype(),
    DefaultDevice(),
    Autocast(),
    FlushDenormal(),
    NumpyBuffer(),
    PythonRandom(),
    NumpyRandom(),
    TorchCpu(),
    LazyAccelerator("cuda"),
    LazyAccelerator("xpu"),
    Mps(),
    PrivateUse1(),
]
