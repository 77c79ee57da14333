"""A sweep: each job writes down what it finds, seeds and sets flags by hand or in a scope of its own, and draws.

`python -m` it with Hydra's own arguments.
"""

from __future__ import annotations

import json
import os
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from deterministic import reproducible

from .leaks import state_now


def by_hand(config: DictConfig) -> None:
    """What scripts do."""
    if config.seed is not None:
        random.seed(config.seed)
        np.random.seed(config.seed)
        torch.manual_seed(config.seed)
    if config.deterministic:
        torch.use_deterministic_algorithms(True)
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


@hydra.main(version_base=None, config_path=None)
def job(config: DictConfig) -> None:
    found: dict[str, Any] = {"before": state_now()}
    try:
        with reproducible.from_config(config) if config.scoped else nullcontext():
            if not config.scoped:
                by_hand(config)
            found["flag"] = torch.are_deterministic_algorithms_enabled()
            found["drawn"] = [random.random(), np.random.rand(), torch.rand(1).item()]
            if HydraConfig.get().job.num == config.failing:
                raise ValueError("the job that fails")
    finally:
        found["after"] = state_now()
        with Path(config.out).open("a") as file:
            file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    job()
