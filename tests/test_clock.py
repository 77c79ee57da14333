"""A seed that was read from the clock is told from one that somebody chose."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
import pytest

from deterministic.ground import clock
from deterministic.ground.clock import is_clock

NOW = 1_796_063_282_581_476_293
"""A time in ns; in s, ms and µs it has no zeros at its end, either."""


@pytest.fixture(autouse=True)
def a_time_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW)


def test_a_seed_is_the_clock_while_it_may_have_been_read_from_it() -> None:
    now, frame = NOW / 1e9, sys._getframe()
    seeds: list[Any] = [now, int(now), int(now * 1e3), np.int64(now * 1e6), int((now - 50) * 1e9), NOW]
    seeds += [int((os.getpid() + now) * 1e9), round(now + 0.4)]
    for seed in seeds:
        assert is_clock(seed, frame), seed
    for seed in (int(now) - 100, int(now) + 100, 2**64 + NOW, 1e300, float("nan"), "now", b"now", None, 10**400):
        assert not is_clock(seed, frame), seed


def test_what_is_left_of_a_time_is_known_where_a_clock_is_named_and_shortly_after() -> None:
    def by_a_clock(seed: int) -> bool:
        return is_clock(seed, sys._getframe() if time.time_ns() else None)

    def elsewhere(seed: int) -> bool:
        return is_clock(seed, sys._getframe())

    recent = {1: 30_000, 10**3: 4_000, 10**6: 4_000}  # of its unit
    for unit, age in recent.items():
        for modulus in (2**32, 2**32 - 1, 2**31):
            seed = (NOW // unit - age) % modulus
            if seed >= clock.SMALL:
                assert by_a_clock(seed), (unit, modulus)
                assert not by_a_clock((seed - 100 * age) % modulus), (unit, modulus)
    assert by_a_clock(NOW & 0xFFFFFFFF)
    assert not is_clock(NOW & 0xFFFFFFFF, None)
    assert not (lambda: (lambda: (lambda: (lambda: elsewhere(NOW & 0xFFFFFFFF))())())())()


def test_seeds_that_people_write_and_hashes_are_never_the_clock() -> None:
    chosen = [0, 1, 42, 2024, 20261130, 12345678, 99999999, 123456789, 1234567890, 0xDEADBEEF, 2**31 - 1, 2**32 - 1]
    frame = sys._getframe() if time.time_ns() else None
    assert not [seed for seed in chosen if is_clock(seed, frame)]
    hashes = np.random.Generator(np.random.PCG64(1)).integers(2**32, size=20_000)
    assert sum(is_clock(int(seed), frame) for seed in hashes) <= 4  # by chance, beside a clock
    assert not any(is_clock(int(seed), None) for seed in hashes)


def test_functions_of_torch_between_who_seeds_and_its_clock_are_not_counted() -> None:
    torchs: dict[str, Any] = {"__name__": "torch._dynamo.eval_frame", "is_clock": is_clock, "frame": sys._getframe}
    exec("def deep(seed, depth): return deep(seed, depth - 1) if depth else is_clock(seed, frame())", torchs)

    def by_a_clock(seed: int) -> bool:
        return bool(time.time_ns() and torchs["deep"](seed, 5))

    assert by_a_clock(NOW & 0xFFFFFFFF)
    assert not torchs["deep"](NOW & 0xFFFFFFFF, 5)
