"""On what a program runs: the build of PyTorch, processor, GPU, operating system, threads. Initialises no device."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import platform
import re
import sys
from contextlib import suppress
from typing import Any

import numpy
import torch

from ..ground.ranks import current_ranks
from .reasons import or_null, told

_OF_CONFIG = {
    "torch.mkl": r"Math Kernel Library Version (\S+)",
    "torch.onednn": r"MKL-DNN v(\S+)",
    "torch.blas": r"BLAS_INFO=(\w+)",
    "torch.lapack": r"LAPACK_INFO=(\w+)",
    "torch.compiler": r"- (GCC \S+|clang \S+|MSVC \S+)",
}
_CPU = "/proc/cpuinfo"
_DRIVER = "/proc/driver/nvidia/version"


@or_null("torch", "numpy.blas", "cpu.numpy")
def build() -> dict[str, Any]:
    """Return how PyTorch and NumPy were built, and what they compute with on a processor."""
    config = torch.__config__.show()
    found = {name: match[1] if (match := re.search(text, config)) else None for name, text in _OF_CONFIG.items()}
    version: Any = torch.version
    built = {"torch.git": version.git_version, "torch.debug": bool(version.debug), "torch.hip": version.hip, **found}
    built["torch.xpu"] = getattr(version, "xpu", None)
    arithmetic: dict[str, Any] = {"numpy.blas": None, "cpu.numpy": None}
    with suppress(Exception):
        numpys: Any = numpy.show_config(mode="dicts")
        blas, simd = numpys["Build Dependencies"]["blas"], numpys["SIMD Extensions"]
        arithmetic = {"numpy.blas": f"{blas['name']} {blas['version']}", "cpu.numpy": simd["baseline"] + simd["found"]}
    return {**built, **told(arithmetic, "this version of NumPy does not tell")}


@or_null("cpu")
def processor() -> dict[str, Any]:
    """Return which processor it is, and which of its instructions libraries say that they use."""
    said = _cpuinfo()
    itself = {
        "cpu.vendor": said.get("vendor_id") or said.get("CPU implementer"),
        "cpu.model": said.get("model name") or said.get("CPU part") or platform.processor() or None,
        "cpu.family": " ".join(filter(None, map(said.get, ("cpu family", "model", "stepping")))) or None,
        "cpu.machine": platform.machine(),
        "cpu.torch": torch.backends.cpu.get_cpu_capability(),
    }
    return {
        **told(itself, f"{_CPU} is not there, or says nothing of it"),
        **told({"cpu.onednn": None}, "oneDNN tells it only in what ONEDNN_VERBOSE=1 prints"),
        **told({"cpu.mkl": None}, "MKL tells it only in what MKL_VERBOSE=1 prints"),
    }


@or_null("os", "python")
def system() -> dict[str, Any]:
    """Return the operating system, its C library and the kind of Python."""
    facts = {
        "os.system": platform.system(),
        "os.release": platform.release(),
        "os.libc": " ".join(filter(None, platform.libc_ver())) or None,
        "python.implementation": platform.python_implementation(),
        "python.compiler": platform.python_compiler(),
    }
    return told(facts, "the system does not tell")


@or_null("threads.pools")
def pools() -> dict[str, Any]:
    """Return the libraries with threads of their own, as threadpoolctl finds them."""
    try:
        found = importlib.import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return told({"threads.pools": None}, "threadpoolctl is not installed")
    keys = ("internal_api", "version", "architecture", "threading_layer", "num_threads")
    said = {" ".join(str(pool[key]) for key in keys if pool.get(key) is not None) for pool in found}
    return {"threads.pools": sorted(said)}


@or_null("gpu")
def devices() -> dict[str, Any]:
    """Return the GPUs, where CUDA is initialised already; the driver where the system tells it."""
    facts: dict[str, Any] = {"gpu.names": [], "gpu.capabilities": [], "gpu.count": 0}
    if torch.cuda.is_initialized():
        every = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        facts["gpu.names"] = [one.name for one in every]
        facts["gpu.capabilities"] = [f"{one.major}.{one.minor}" for one in every]
        facts["gpu.count"] = len(every)
    elif torch.version.cuda or torch.version.hip:
        facts = told({**dict.fromkeys(facts), "versions.cudnn": None}, "CUDA is not initialised")
    driver = None
    with suppress(OSError), open(_DRIVER, encoding="utf-8", errors="replace") as file:
        match = re.search(r"\s(\d+\.\d[\d.]*)\s", file.read(4096))
        driver = match[1] if match else None
    return facts | told(
        {"gpu.driver": driver}, f"the system does not tell: {_DRIVER} is not there, or says nothing of it"
    )


@or_null("threads.interop", "start_method", "local_world_size")
def process() -> dict[str, Any]:
    """Return how this process stands beside others, and how many threads it has for what."""
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    methods = multiprocessing.get_all_start_methods()
    return {
        "threads.interop": torch.get_num_interop_threads(),
        "cpu.count": os.cpu_count(),
        "start_method": multiprocessing.get_start_method(allow_none=True) or methods[0],
        "python.hash_randomization": bool(sys.flags.hash_randomization),
        **_ranks(),
        **told({"local_world_size": int(local) if local.isdecimal() else None}, "torchrun did not start this process"),
    }


@or_null("rank", "world_size")
def _ranks() -> dict[str, Any]:
    return current_ranks()._asdict()


def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first processor."""
    try:
        with open(_CPU, encoding="utf-8", errors="replace") as file:
            lines = file.read(2**14).partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}
