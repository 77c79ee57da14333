"""A model of torch.compile is saved, and goes on, like any other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from ..compiling import Counting
from .trainings import trained


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    """Import what torch.compile imports, before the canary looks; forget what was compiled."""
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_compiled_model_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    backend = Counting()
    compiled = partial(torch.compile, backend=backend)
    whole = trained(tmp_path / "whole", wrap=compiled)
    for stop in (3, 6):
        trained(tmp_path / f"cut{stop}", stop=stop, wrap=compiled)
        assert trained(tmp_path / f"cut{stop}", wrap=compiled) == whole
    assert backend.runs > 30, "it did run compiled"
