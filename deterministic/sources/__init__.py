"""Everything that a scope controls, in one list: settings first, then generators.

Applied in this order and restored in reverse. Importing this package imports torch and numpy, so the rest of the
library imports it at the first entry only.
"""

from __future__ import annotations

from ..ground.source import Source
from . import settings
from .accelerators import LazyAccelerator, Mps, PrivateUse1
from .entropy import EntropyWatch
from .environment import Environment
from .fp32_precision import Fp32Precision
from .inductor import Inductor
from .numpy_random import NumpyRandom
from .python_random import PythonRandom
from .torch_cpu import TorchCpu

__all__ = ["ALGORITHMS", "ENTROPY", "SOURCES"]

ALGORITHMS = settings.Algorithms()
ENTROPY = EntropyWatch()

SOURCES: list[Source] = [
    Environment(),
    ALGORITHMS,
    Inductor(),
    settings.Cudnn(),
    Fp32Precision(),
    settings.ReducedPrecision(),
    settings.Attention(),
    settings.Mkldnn(),
    settings.Libraries(),
    settings.Threads(),
    settings.DefaultDtype(),
    settings.DefaultDevice(),
    settings.Autocast(),
    settings.FlushDenormal(),
    settings.NumpyBuffer(),
    ENTROPY,
    PythonRandom(),
    NumpyRandom(),
    TorchCpu(),
    LazyAccelerator("cuda"),
    LazyAccelerator("xpu"),
    Mps(),
    PrivateUse1(),
]
