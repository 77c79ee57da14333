"""torch.distributed.checkpoint saves a run and a loader with the rest, for both are Stateful."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from deterministic import make_loader, reproducible

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")


def test_a_run_and_a_loader_go_on_from_it(tmp_path: Path) -> None:
    def draws(run: Any, batches: Any) -> list[Any]:
        return [torch.rand(2), random.random(), np.random.rand(), run.numpy("mine").random(), next(batches)]

    with reproducible(seed=4) as run:
        run.numpy("mine").random(3)
        loader = make_loader(range(20), batch_size=2, shuffle=True)
        batches = iter(loader)
        next(batches)
        save({"run": run, "loader": loader}, checkpoint_id=tmp_path, no_dist=True)
        expected = draws(run, batches)
    with reproducible(seed=4) as run:
        run.numpy("mine")
        loader = make_loader(range(20), batch_size=2, shuffle=True)
        torch.rand(5)
        load({"run": run, "loader": loader}, checkpoint_id=tmp_path, no_dist=True)
        for one, other in zip(draws(run, iter(loader)), expected, strict=True):
            assert np.array_equal(one, other)
