"""litdata's streams, whose state_dict() takes arguments, and which count their epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deterministic import make_loader
from deterministic.testing import check_stream

from .killed import killed_anywhere

# It requires torchvision, whose only builds on PyPI are of CUDA and do not load beside a CPU build of torch.
litdata = pytest.importorskip("litdata", reason="litdata is installed by hand, without torchvision")


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return what streams nine numbers in three chunks."""
    folder = tmp_path_factory.mktemp("chunks")
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_size=3)
    for number in range(9):
        writer[number] = number
    writer.done()
    writer.merge(1)
    return lambda **arguments: litdata.StreamingDataset(str(folder), drop_last=False, **arguments)


@pytest.mark.parametrize("arguments", [{}, {"shuffle": True, "seed": 5}], ids=str)
@pytest.mark.parametrize("workers", [{"num_workers": 0}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_a_stream_is_exact(over: Callable[..., Any], arguments: dict[str, Any], workers: dict[str, Any]) -> None:
    assert check_stream(lambda: over(**arguments), **workers) == []


@pytest.mark.parametrize("arguments", [{}, {"shuffle": True, "seed": 5}], ids=str)
def test_a_killed_training_ends_with_the_same_bits(
    over: Callable[..., Any], arguments: dict[str, Any], tmp_path: Path
) -> None:
    make = lambda: make_loader(over(**arguments), batch_size=2, seed=0)  # noqa: E731
    assert killed_anywhere(make, tmp_path) == {"exact"}
