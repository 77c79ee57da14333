"""A sweep with Hydra, in which no job changes the next one.

    python examples/hydra/train.py seed=42 deterministic=true
    python examples/hydra/train.py --multirun seed=1,2,1 deterministic=true

Hydra runs the jobs of a sweep one after the other in one process. What a job seeds, and the flags that it sets, would
be there for the jobs after it; here each job has a scope of its own, which gives everything back, and so the first and
the third job of the sweep print the same line. (Hydra writes its logs into outputs/ and multirun/ of the directory in
which it is started.)
"""

from __future__ import annotations

import hydra
import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from deterministic import fingerprint, reproducible


def train(config: DictConfig) -> nn.Module:
    points = torch.from_numpy(np.random.standard_normal((256, 2))).float()
    model = nn.Sequential(nn.Linear(2, config.hidden), nn.Tanh(), nn.Linear(config.hidden, 1))
    optimizer = torch.optim.SGD(model.parameters(), config.lr)
    for _ in range(config.steps):
        optimizer.zero_grad()
        (model(points).squeeze(1) - points.norm(dim=1)).square().mean().backward()
        optimizer.step()
    return model


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    # A DictConfig is a mapping: nothing has to be converted, and the other keys are not looked at.
    with reproducible.from_config(config) as run:
        model = train(config)
    print(f"seed {run.seed}, deterministic {run.deterministic}: {fingerprint(model)}")


if __name__ == "__main__":
    main()
