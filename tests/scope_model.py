"""What a random program of scopes does to the process, what is seen of it, and a model of what should be seen."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import torch

from deterministic import seed_everything
from deterministic.sources import SOURCES

ACCELERATORS = [
    source
    for source in SOURCES
    if source.kind == "rng" and source.name not in ("python.random", "numpy.random", "torch.cpu")
]
STREAMS = {source.name for source in SOURCES if source.kind == "rng"}

numpy_random: Any = np.random  # its stubs lack the functions for the bit generator

Own = dict[str, Any]
CHANGES: dict[str, Callable[[Own], object]] = {
    "random": lambda own: random.random(),
    "random.gauss": lambda own: random.gauss(0, 1),
    "np.random": lambda own: np.random.random(5),
    "np.random.randn": lambda own: np.random.randn(),
    "torch.rand": lambda own: torch.rand(3),
    "torch.randn": lambda own: torch.randn(()),
    "own torch": lambda own: torch.randn(1, generator=own["own torch"]),
    "own numpy": lambda own: own["own numpy"].standard_normal(),
    "own python": lambda own: own["own python"].gauss(0, 1),
    "seed by hand": lambda own: (random.seed(5), np.random.seed(5), torch.default_generator.manual_seed(5)),
    "seed_everything": lambda own: seed_everything(6, deterministic="warn"),
    "bit generator": lambda own: numpy_random.set_bit_generator(np.random.PCG64(3)),
    "cudnn": lambda own: torch._C._set_cudnn_benchmark(not torch._C._get_cudnn_benchmark()),
    "algorithms on": lambda own: torch._C._set_deterministic_algorithms(True, warn_only=True),
    "algorithms off": lambda own: torch._C._set_deterministic_algorithms(False, warn_only=False),
    "fill": lambda own: torch._C._set_deterministic_fill_uninitialized_memory(False),
    "matmul precision": lambda own: torch.set_float32_matmul_precision("medium"),
    "default dtype": lambda own: torch.set_default_dtype(torch.float64),
    "default device": lambda own: torch.set_default_device("cpu"),
    "threads": lambda own: torch.set_num_threads(3),
    "sdp": lambda own: torch.backends.cuda.enable_math_sdp(False),
    "autocast": lambda own: torch.set_autocast_enabled("cpu", True),
    "flush": lambda own: torch.set_flush_denormal(True),
    "buffer": lambda own: np.setbufsize(4096),
    "variables": lambda own: os.environ.update(OMP_NUM_THREADS="3", CUBLAS_WORKSPACE_CONFIG=":16:8"),
    "no variable": lambda own: os.environ.pop("OMP_NUM_THREADS", None),
}
if hasattr(torch._C, "_set_fp32_precision_setter"):
    CHANGES["fp32 matmul"] = lambda own: torch._C._set_fp32_precision_setter("cuda", "matmul", "tf32")
    CHANGES["fp32 everywhere"] = lambda own: torch._C._set_fp32_precision_setter("generic", "all", "ieee")


def own_generators() -> Own:
    """Return generators as a user has them, by the names that `observe` gives them."""
    return {
        "own torch": torch.Generator(),
        "own numpy": np.random.default_rng(1),
        "own python": random.Random(1),
    }


def observe(own: Own) -> dict[str, object]:
    """Return what is in effect; the generators not by the library's own means."""
    return {
        **{source.name: source.capture() for source in SOURCES if source.kind == "setting"},
        **{source.name: source.describe(source.capture()) for source in ACCELERATORS},
        "python.random": random.getstate(),
        "numpy.random": numpy_state(np.random.get_state(legacy=False)),
        "bit generator": id(numpy_random.get_bit_generator()),
        "torch.cpu": torch.default_generator.get_state().numpy().tobytes(),
        "own torch": own["own torch"].get_state().numpy().tobytes(),
        "own numpy": str(own["own numpy"].bit_generator.state),
        "own python": own["own python"].getstate(),
    }


@cache
def by_hand(seed: int) -> dict[str, object]:
    return {
        "python.random": random.Random(seed).getstate(),
        "numpy.random": numpy_state(np.random.RandomState(seed).get_state(legacy=False)),
        "torch.cpu": torch.Generator().manual_seed(seed).get_state().numpy().tobytes(),
    }


def numpy_state(state: Any) -> tuple[object, ...]:
    inner = {name: value.tobytes() if name == "key" else value for name, value in state["state"].items()}
    return state["bit_generator"], inner, state["has_gauss"] and state["gauss"]


class World:
    """An open scope as the model sees it: what it covers, and what that held when the scope was last the innermost."""

    def __init__(self, covers: Iterable[str], holds: dict[str, object], layer: list[World]) -> None:
        self.covers, self.holds, self.layer = set(covers), holds, layer


class Model:
    """What should be: each open scope is a world of its own, laid upon the others, and what is seen is the uppermost.

    Entering lays one on top, leaving takes that one out wherever it is, and a body that is suspended takes those from
    its own upward along. What a world does not cover is that of the world under it; when one is taken out from under
    another, that other takes over what it does not cover itself.
    """

    def __init__(self, observe: Callable[[], dict[str, object]]) -> None:
        self.observe = observe
        self.worlds: list[World] = []
        self.worlds.append(World(observe(), observe(), self.worlds))

    def owner(self, name: str) -> World:
        return next(world for world in reversed(self.worlds) if name in world.covers)

    def record(self) -> None:
        for name, value in self.observe().items():
            self.owner(name).holds[name] = value

    def check(self, event: str) -> None:
        for name, value in self.observe().items():
            expected = self.owner(name).holds.setdefault(name, value)
            assert value == expected, f"{name} after {event}: {str(value)[:300]}, expected {str(expected)[:300]}"

    def lay(self, covers: Iterable[str], unchanged: Iterable[str], holds: dict[str, object]) -> World:
        before = {name: self.owner(name).holds[name] for name in unchanged}
        self.worlds.append(World(covers, before | holds, self.worlds))
        self.check("entering")
        return self.worlds[-1]

    def take_out(self, world: World) -> bool:
        """Take `world` out; return whether it was under another one."""
        place = world.layer.index(world)
        del world.layer[place]
        if place == len(world.layer):
            return False
        above = world.layer[place]
        above.holds |= {name: world.holds[name] for name in world.covers - above.covers}
        above.covers |= world.covers
        return True

    def take_off(self, lowest: World) -> list[World]:
        place = self.worlds.index(lowest)
        part, self.worlds[place:] = self.worlds[place:], []
        return self.move(part, part)

    def put_back(self, part: list[World]) -> None:
        self.worlds += self.move(part, self.worlds)

    @staticmethod
    def move(part: list[World], layer: list[World]) -> list[World]:
        for world in part:
            world.layer = layer
        return part
