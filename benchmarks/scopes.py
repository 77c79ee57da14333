"""Entering and leaving, against seeding and restoring by hand and against other libraries; and source by source."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch

from deterministic import reproducible
from deterministic.ground.config import Config
from deterministic.ground.source import Source
from deterministic.sources import SOURCES

BASELINE = "naive"


def naive() -> None:
    """The three generators by hand, inline: the floor that every row is compared with."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)
    random.setstate(python)
    np.random.set_state(numpy)
    torch.default_generator.set_state(cpu)


def scope() -> None:
    """A scope as users write it."""
    with reproducible(0):
        pass


def watching() -> None:
    """The same, with the watch over entropy."""
    with reproducible(0, entropy="warn"):
        pass


def peers() -> dict[str, Callable[[], None]]:
    """Return what other libraries have for it, as far as they are installed.

    Importing Lightning imports inductor, whose options are then saved and restored too: measure the rest before.
    """
    found: dict[str, Callable[[], None]] = {"torch fork_rng + manual_seed": _fork_rng}
    try:
        from hypothesis.internal.entropy import deterministic_PRNG

        def hypothesis() -> None:
            with deterministic_PRNG(0):
                pass

        found["hypothesis deterministic_PRNG"] = hypothesis
    except ImportError:
        pass
    try:
        from lightning_fabric.utilities.seed import seed_everything
        from pytorch_lightning.utilities.seed import isolate_rng

        def lightning() -> None:
            with isolate_rng():
                seed_everything(0, verbose=False)

        found["lightning isolate_rng + seed_everything"] = lightning
    except ImportError:
        pass
    return found


def by_source() -> dict[str, Callable[[], None]]:
    """Return, for each source, what a scope makes of it: capture, apply, restore."""
    return {source.name: _cycle(source) for source in SOURCES}


def _fork_rng() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)


def _cycle(source: Source) -> Callable[[], None]:
    config = Config(seed=0, deterministic=True)

    def cycle() -> None:
        state = source.capture()
        source.apply(config)
        source.restore(state)

    return cycle
