"""Train a small network as a configuration file says, and print a fingerprint of what comes out.

    python examples/train.py examples/reproducible_training.yaml

prints the same line every time. With `--seed 7` it prints another one, and that is the same every time, too. Take
`seed` and `deterministic` out of the file, and the training is what it was without them: other bits each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from deterministic import fingerprint, reproducible


def train(config: dict[str, Any]) -> nn.Module:
    """Nothing in here knows of reproducibility: it draws from NumPy and PyTorch as any training does."""
    points = torch.from_numpy(np.random.standard_normal((config["samples"], 2))).float()
    is_outside = (points.norm(dim=1) > 1.2).long()
    model = nn.Sequential(
        nn.Linear(2, config["hidden"]), nn.ReLU(), nn.Dropout(config["dropout"]), nn.Linear(config["hidden"], 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), config["lr"])
    for _ in range(config["epochs"]):
        for batch in torch.randperm(len(points)).split(config["batch_size"]):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(points[batch]), is_outside[batch]).backward()
            optimizer.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Train as a configuration file says.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--seed", type=int, help="overrides the file's")
    arguments = parser.parse_args()

    config = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    # What is given on the command line wins over the file.
    overrides = {} if arguments.seed is None else {"seed": arguments.seed}
    with reproducible.from_config(arguments.config, **overrides) as run:
        model = train(config)
    print(f"seed {run.seed}, deterministic {run.deterministic}: {fingerprint(model)}")


if __name__ == "__main__":
    main()
