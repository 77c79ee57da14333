"""Accelerators that this machine lacks, behind torch's own modules: only the drivers and the devices are made up.

The devices' generators are CPU generators, so seeds, states and draws are real, and so is torch's code: its queue of
calls, its seed tracker and its lazy initialisation run as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
import torch

LAZY_KINDS = [kind for kind in ("cuda", "xpu", "mtia") if hasattr(getattr(torch, kind), "default_generators")]
"""The modules with a queue, a seed tracker and generators; torch 2.6 has none for torch.mtia."""


@dataclass
class FakeAccelerator:
    """What a test sees of a kind of device that it pretends to have.

    Attributes:
        module: The module of torch, for example torch.cuda itself.
        initialisations: How often the driver was initialised.
        unrelated_calls: How often the call ran that a library had queued beforehand, one without random numbers.
    """

    module: Any
    initialisations: int = 0
    unrelated_calls: int = 0

    def init(self) -> None:
        """Initialise it, as its first use does."""
        self.module.init()

    def seeds(self) -> list[int]:
        return [generator.initial_seed() for generator in self.module.default_generators]

    def states(self) -> list[list[int]]:
        return [generator.get_state().tolist() for generator in self.module.default_generators]

    def draw(self, device: int = 0, count: int = 3) -> list[float]:
        values: list[float] = torch.rand(count, generator=self.module.default_generators[device]).tolist()
        return values

    def queue(self) -> list[Any]:
        """Return everything that waits for initialisation, object by object."""
        return [*self.module._queued_calls, *vars(self.module._lazy_seed_tracker).values()]

    def queue_unrelated(self) -> None:
        """Queue what a library queues to set itself up, nothing to do with random numbers."""

        def set_up_library() -> None:
            self.unrelated_calls += 1

        self.module._lazy_call(set_up_library)


@contextmanager
def fake_accelerator(
    kind: str = "cuda", *, devices: int = 2, initialized: bool = False, in_bad_fork: bool = False
) -> Iterator[FakeAccelerator]:
    """Make `torch.<kind>` look as if it had devices; before the first use unless `initialized`.

    Args:
        kind: One of `LAZY_KINDS`.
        devices: How many.
        initialized: Whether it has been used before.
        in_bad_fork: Whether this process was forked from one that has used it.
    """
    module: Any = getattr(torch, kind)
    fake = FakeAccelerator(module)

    def init_driver() -> None:
        fake.initialisations += 1
        generators = tuple(torch.Generator() for _ in range(devices))
        for generator in generators:
            generator.seed()
        module.default_generators = generators

    with pytest.MonkeyPatch.context() as patch, preserved_torch():
        patch.setattr(module, "_initialized", False)
        patch.setattr(module, "_tls", threading.local())
        patch.setattr(module, "_queued_calls", [])
        patch.setattr(module, "_lazy_seed_tracker", torch._utils._LazySeedTracker())
        patch.setattr(module, "_is_in_bad_fork", lambda: False)
        patch.setattr(module, "default_generators", ())
        patch.setattr(torch._C, f"_{kind}_init", init_driver, raising=False)
        patch.setattr(torch._C, "_cuda_getDeviceCount", lambda: devices, raising=False)
        patch.setattr(torch._C, "_has_xpu", True)
        patch.setattr(torch._C, "_mtia_isBuilt", lambda: True)
        patch.setattr(module, "_cudart", object(), raising=False)
        # torch 2.6 sets it when it initialises CUDA.
        patch.setenv("CUDA_MODULE_LOADING", "LAZY")
        # `random` has imported both by name.
        for namespace in (module, getattr(module, "random", module)):
            patch.setattr(namespace, "device_count", lambda: devices)
            patch.setattr(namespace, "current_device", lambda: 0)
        fake.queue_unrelated()
        if initialized:
            fake.init()
        patch.setattr(module, "_is_in_bad_fork", lambda: in_bad_fork)
        yield fake


@contextmanager
def fake_mps(*, available: bool = True) -> Iterator[torch.Generator]:
    """Make torch look as if built for a Mac, one with a GPU unless not `available`; yield the generator."""
    generator = torch.Generator()
    generator.seed()
    with pytest.MonkeyPatch.context() as patch, preserved_torch():
        patch.setattr(torch._C, "_has_mps", True)
        patch.setattr(torch._C, "_mps_is_available", lambda: available)
        patch.setattr(torch.backends.mps, "is_available", lambda: available)
        patch.setattr(torch.mps, "_is_in_bad_fork", lambda: False)
        patch.setattr(torch.mps, "_default_mps_generator", generator)
        yield generator


@dataclass
class FakePrivateUse1:
    """A backend outside of torch. `lazy` ones have torch_npu's queue, and reading their states initialises them."""

    module: ModuleType
    generators: list[torch.Generator]
    initialized: bool
    queue: list[Any] = field(default_factory=list)

    def init(self) -> None:
        if not self.initialized:
            for generator in self.generators:
                generator.seed()
            for call, _ in self.queue:
                call()
            self.initialized = True

    def seeds(self) -> list[int]:
        return [generator.initial_seed() for generator in self.generators]

    def call(self, function: Callable[[], object]) -> None:
        if self.initialized:
            function()
        else:
            self.queue.append((function, ["where it was queued\n"]))


@contextmanager
def fake_privateuse1(
    *, devices: int = 2, lazy: bool = False, without: tuple[str, ...] = ()
) -> Iterator[FakePrivateUse1]:
    """Register a backend behind the name that torch has for one; it lacks the functions named in `without`."""
    name = torch._C._get_privateuse1_backend_name()
    module = ModuleType(f"torch.{name}")
    fake = FakePrivateUse1(module, [torch.Generator() for _ in range(devices)], initialized=not lazy)

    def get_rng_state(device: int) -> torch.Tensor:
        fake.init()
        return fake.generators[device].get_state()

    def set_rng_state(state: torch.Tensor, device: int) -> None:
        fake.call(lambda: fake.generators[device].set_state(state))

    def manual_seed_all(seed: int) -> None:
        fake.call(lambda: [generator.manual_seed(seed) for generator in fake.generators])

    def seed_all() -> None:
        fake.call(lambda: [generator.seed() for generator in fake.generators])

    functions: dict[str, Any] = {
        "_is_in_bad_fork": lambda: False,
        "device_count": lambda: devices,
        "get_rng_state": get_rng_state,
        "set_rng_state": set_rng_state,
        "manual_seed_all": manual_seed_all,
        "seed_all": seed_all,
    }
    if lazy:
        functions |= {"_queued_calls": fake.queue, "is_initialized": lambda: fake.initialized}
    vars(module).update({function: body for function, body in functions.items() if function not in without})
    with pytest.MonkeyPatch.context() as patch, preserved_torch():
        patch.setattr(torch, name, module, raising=False)
        yield fake


@contextmanager
def preserved_torch() -> Iterator[None]:
    """Give back what tests change by calling torch itself: the generators, and what waits for initialisation."""
    modules: list[Any] = [torch.cuda, torch.xpu, torch.mtia]
    used = [generator for module in modules if module.is_initialized() for generator in module.default_generators]
    states = [(generator, generator.get_state()) for generator in (torch.default_generator, *used)]
    queues = [(module._queued_calls, list(module._queued_calls)) for module in modules]
    trackers = [(module._lazy_seed_tracker, dict(vars(module._lazy_seed_tracker))) for module in modules]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)
        for queue, calls in queues:
            queue[:] = calls
        for tracker, attributes in trackers:
            vars(tracker).update(attributes)
