"""What the tests of frameworks in this process share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deterministic import seed_everything
from deterministic.ground import snapshot
from deterministic.sources import SOURCES


@pytest.fixture
def own_process() -> Iterator[None]:
    """Give back what is drawn outside of a block, and let each test have an Accelerator of its own."""
    from accelerate.state import AcceleratorState, GradientState

    generators = snapshot.capture(source for source in SOURCES if source.kind == "rng")
    seed_everything(987)  # not where the tests before, or a framework, may have left them
    yield
    snapshot.restore(generators)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
