"""The demo's training run: a small conv net on real scans, drawing from every generator that is process-global.

As training code often does, it draws from Python's `random`, from `numpy.random` and from torch, in the main process
(initial weights, order, mixup, dropout) and in the loader's workers (augmentation). Nothing here seeds anything.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from .verdict import Outcome

TRAINED_ON, HELD_OUT = 1437, 360
"""How the 1,797 scans are split."""


class AugmentedDigits(Dataset[tuple[Tensor, Tensor]]):
    """Scans, each shifted, erased in one spot and made noisy anew every time that it is read.

    Args:
        images: Grey values in [0, 1], shape (n, 1, 8, 8).
        labels: The digits, shape (n,).
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        shift = random.randint(-1, 1), random.randint(-1, 1)
        image = self.images[index].roll(shift, (1, 2))
        row, column = torch.randint(0, 7, (2,)).tolist()
        image[:, row : row + 2, column : column + 2] = 0.0
        noise = np.random.normal(0.0, 0.05, (1, 8, 8))
        return image + torch.from_numpy(noise.astype(np.float32)), self.labels[index]


@dataclass(frozen=True)
class Digits:
    """The scans, split once for all runs: what a run draws must not decide what it is judged on."""

    train: AugmentedDigits
    held_out_images: Tensor
    held_out_labels: Tensor


def load(split: torch.Generator) -> Digits:
    """Load scikit-learn's digits, which are shipped in the package, and split them.

    Args:
        split: Draws which scans are held out; the process-global generators are not used.

    Returns:
        1,437 scans to train on and 360 held out.

    Source:
        E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998 (the test part).
    """
    raw = load_digits()
    images = torch.from_numpy(raw.images.astype(np.float32) / 16.0).unsqueeze(1)
    labels = torch.from_numpy(raw.target.astype(np.int64))
    order = torch.randperm(len(labels), generator=split)
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    return Digits(AugmentedDigits(images[train], labels[train]), images[held_out], labels[held_out])


class Net(nn.Sequential):
    """Two convolutions and two linear layers, with dropout: 38,282 weights."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(64, 10),
        )


def train(make_loader: Callable[..., Any], digits: Digits, epochs: int, on_epoch: Callable[[], None]) -> Outcome:
    """Train a new net and judge it on the held-out scans.

    Draws from the process-global generators of Python, numpy and torch, here and in two worker processes, which have
    ended when it returns.

    Args:
        make_loader: `torch.utils.data.DataLoader` or `deterministic.make_loader`: the two are called alike.
        digits: The scans.
        epochs: How often every scan is read.
        on_epoch: Called after every epoch.

    Returns:
        What it came to.
    """
    loader = make_loader(digits.train, batch_size=64, shuffle=True, num_workers=2, persistent_workers=True)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs * len(loader))
    losses = [_judge(model, digits)[0]]
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            _mixup_loss(model, images, labels).backward()
            optimizer.step()
            schedule.step()
        losses.append(_judge(model, digits)[0])
        on_epoch()
    return Outcome(tuple(losses), _judge(model, digits)[1], _digest(model))


def _mixup_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a batch, every second one mixed with itself in another order.

    Source: H. Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """
    if random.random() < 0.5:
        return F.cross_entropy(model(images), labels)
    share = float(np.random.beta(0.2, 0.2))
    other = torch.randperm(len(labels))
    scores = model(share * images + (1.0 - share) * images[other])
    return share * F.cross_entropy(scores, labels) + (1.0 - share) * F.cross_entropy(scores, labels[other])


@torch.no_grad()
def _judge(model: nn.Module, digits: Digits) -> tuple[float, float]:
    model.eval()
    scores = model(digits.held_out_images).double()
    right = (scores.argmax(1) == digits.held_out_labels).double().mean()
    return F.cross_entropy(scores, digits.held_out_labels).item(), right.item()


def _digest(model: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
