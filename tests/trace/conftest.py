"""What tests of the recorder have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def apart() -> Iterator[None]:
    """Run a test in one thread, and give the generator of the CPU back as it was: models draw their weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)
