"""Accelerate trainings that are killed and resumed; `python -m` it with a folder.

An epoch has 6 batches, and a state is saved after every second step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration

from deterministic import make_loader, reproducible

from .children import Augmented, Cases, kill, network, run

BATCHES = 6
EPOCHS = 2


class Steps:
    """How many steps are behind: Accelerate saves it, as anything that has a state."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def train(
    folder: Path, saved: Path | None = None, *, exact: bool = True, workers: int = 0, kill_in: int | None = None
) -> dict[str, Any]:
    """Train, and return what has come out; `exact=False` as Accelerate's documentation says."""
    with reproducible(seed=3) as scope:
        accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True))
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), 0.05)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)
        model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
        steps = Steps()
        accelerator.register_for_checkpointing(steps)
        loader: Any
        if exact:
            loader = make_loader(Augmented(), batch_size=4, shuffle=True, num_workers=workers)
            accelerator.register_for_checkpointing(scope, loader)
        else:
            plain = torch.utils.data.DataLoader(Augmented(), batch_size=4, shuffle=True, num_workers=workers)
            loader = accelerator.prepare(plain)
        if saved is not None:
            accelerator.load_state(str(saved))
        first = steps.count // BATCHES
        for epoch in range(first, EPOCHS):
            batches = loader
            loader.set_epoch(epoch)
            if not exact and epoch == first:
                batches = accelerator.skip_first_batches(loader, steps.count % BATCHES)
                batches.set_epoch(epoch)
            for batch in batches:
                if steps.count == kill_in:
                    kill()
                optimizer.zero_grad()
                accelerator.backward((model(batch[:, :3]).squeeze(1) - batch[:, 3]).square().mean())
                optimizer.step()
                scheduler.step()
                steps.count += 1
                if steps.count % 2 == 0:
                    accelerator.save_state(str(folder / f"state-{steps.count:02}"))
        return {
            "model": dict(model.state_dict()),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "generators": scope.state_dict(),
            "steps": steps.count,
        }


def last(folder: Path) -> Path | None:
    """Return the last state."""
    return max(folder.glob("state-*"), default=None)


CASES: Cases = {
    "exact": ({}, (1, 3, 6)),
    "workers": ({"workers": 2}, (9,)),
    "own": ({"exact": False}, (3, 6)),
    "own workers": ({"exact": False, "workers": 2}, (3,)),
}

if __name__ == "__main__":
    run(train, last, CASES)
