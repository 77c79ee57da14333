"""torch's part in pytest-randomly, which seeds Python and numpy itself."""

from __future__ import annotations

import sys
from types import ModuleType

from ..ground.imports import once_torch_imported

_last: int | None = None
"""The seed that torch is to begin with once it is imported; None where nobody waits for that."""


def seed_torch(seed: int) -> None:
    """Seed torch's generators on every device; pytest-randomly calls it before each phase of each test.

    It is the entry point `pytest_randomly.random_seeder`. Touches no other generator, and initialises no device. Where
    torch is not imported yet it is left so, and seeded when it is: a test that imports torch in its body draws from
    that test's seed.

    Args:
        seed: Any integer; pytest-randomly adds checksums to its own, so that it may be 2**32 or more (see
            pytest-dev/pytest-randomly#689). torch gets it modulo 2**32, as numpy does there.
    """
    global _last
    seed %= 2**32
    if hasattr(sys.modules.get("torch"), "default_generator"):
        _seed(seed)
        return
    if _last is None:
        once_torch_imported(_imported)
    _last = seed


def _imported(sources: ModuleType) -> None:
    if _last is not None:
        _seed(_last)


def _seed(seed: int) -> None:
    from ..ground.config import Config
    from ..sources import SOURCES

    config = Config(seed)
    for source in SOURCES:
        if source.kind == "rng" and source.name.startswith("torch."):
            source.apply(config)
