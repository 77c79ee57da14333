"""Small networks of the usual kinds, and a training loop with places to hook a fault into."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOCABULARY, WIDTH, LENGTH = 50, 16, 8


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)
        self.drop: nn.Module = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.out(attended.transpose(1, 2).reshape(batch, length, width)))
        result: Tensor = x + self.drop(self.down(F.gelu(self.up(x))))
        return result


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x)
        return logits


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4 * 9, VOCABULARY)

    def forward(self, x: Tensor) -> Tensor:
        images = F.one_hot(x, 8 * 8).sum(1).view(-1, 1, 8, 8).float()
        logits: Tensor = self.head(self.drop(self.features(images).flatten(1)))
        return logits


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.lstm(self.words(x))[0])
        return logits


MODELS: dict[str, Callable[[], nn.Module]] = {"transformer": Transformer, "convolutional": ConvNet, "lstm": Lstm}


def batches(steps: int, size: int = 4) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the same batches in every run."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randint(0, VOCABULARY, (size, LENGTH + 1), generator=generator)
        yield x[:, :-1], x[:, 1:]


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    logits = model(x)
    if logits.dim() == 2:  # one answer for a sequence
        y = y[:, 0]
    return F.cross_entropy(logits.reshape(-1, VOCABULARY), y.reshape(-1))


def train(
    model: nn.Module,
    steps: int = 4,
    *,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] = loss_of,
    before: Callable[[int], None] = lambda step: None,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
) -> float:
    """Train for some steps and return the last loss; `before` is called with the number of each step."""
    updates = optimizer(model.parameters(), lr=1e-2)
    value = torch.zeros(())
    for step, (x, y) in enumerate(batches(steps)):
        before(step)
        value = loss(model, x, y)
        updates.zero_grad()
        value.backward()
        updates.step()
    return value.item()
