"""Fingerprints and the hashes of traces, against copying the same bytes and against other hashes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deterministic.values.fingerprint import fingerprint
from deterministic.values.hashes import hash_on_device, hash_on_host

from .timing import Timing, interleaved

BASELINE = "memcpy"
SIZES = {"1 KB": 1 << 10, "4 MB": 1 << 22, "64 MB": 1 << 26}
CALLS = {"1 KB": 100, "4 MB": 2, "64 MB": 1}
"""Calls per timing: one of a big tensor takes milliseconds by itself."""
ROUNDS = {"1 KB": 100, "4 MB": 30, "64 MB": 10}


@dataclass(frozen=True)
class Rate:
    """What one hash of a tensor took.

    Attributes:
        best: Microseconds a call.
        median: Microseconds a call.
        gigabytes: A second, at the median.
        times_memcpy: Its rate as a multiple of the rate of copying in the same round, the median over the rounds.
    """

    best: float
    median: float
    gigabytes: float
    times_memcpy: float


def rates(size: str, device: str = "cpu") -> dict[str, Rate]:
    """Time every hash of a float32 tensor of one of SIZES; by name.

    On another device `memcpy` is a copy within it, hashes of the host are left out, and each call waits for the device.
    """
    length = SIZES[size]
    tensor = torch.rand(length // 4, generator=torch.Generator().manual_seed(0)).to(device)
    functions = on_host(tensor) if device == "cpu" else on_device(tensor)
    timings = interleaved(functions, BASELINE, rounds=ROUNDS[size], calls=CALLS[size])
    return {name: _rate(timing, length) for name, timing in timings.items()}


def on_host(tensor: Tensor) -> dict[str, Callable[[], object]]:
    """Return what is timed for a tensor of the host."""
    target, data = torch.empty_like(tensor), tensor.numpy().data
    return {
        BASELINE: lambda: target.copy_(tensor),
        "fingerprint": lambda: fingerprint(tensor),
        "hash_on_host": lambda: hash_on_host(tensor),
        "hash_on_device, on the CPU": lambda: hash_on_device(tensor),
        **_of_torch(tensor),
        "md5": lambda: hashlib.md5(data).digest(),
        "sha256": lambda: hashlib.sha256(data).digest(),
    }


def on_device(tensor: Tensor) -> dict[str, Callable[[], object]]:
    """Return what is timed for a tensor of an accelerator."""
    target = torch.empty_like(tensor)
    functions: dict[str, Callable[[], object]] = {
        BASELINE: lambda: target.copy_(tensor),
        "hash_on_device": lambda: hash_on_device(tensor),
        **_of_torch(tensor),
    }

    def waited(function: Callable[[], object]) -> Callable[[], object]:
        def call() -> None:
            function()
            torch.accelerator.synchronize()

        return call

    return {"fingerprint": lambda: fingerprint(tensor)} | {name: waited(one) for name, one in functions.items()}


def _of_torch(tensor: Tensor) -> dict[str, Callable[[], object]]:
    """Return torch's own hash, an exclusive or of the elements, where this torch has it."""
    return {"torch.hash_tensor": lambda: torch.hash_tensor(tensor)} if hasattr(torch, "hash_tensor") else {}


def _rate(timing: Timing, length: int) -> Rate:
    return Rate(timing.best, timing.median, length / timing.median / 1e3, 1 / timing.ratio)


def show(title: str, rows: dict[str, Rate]) -> None:
    """Print one table."""
    print(f"\n{title}\n  {'':<42} {'best us':>10} {'median us':>10} {'GB/s':>8} {'x memcpy':>9}")
    for name, row in rows.items():
        print(f"  {name:<42} {row.best:10.2f} {row.median:10.2f} {row.gigabytes:8.2f} {row.times_memcpy:9.2f}")
