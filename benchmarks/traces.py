"""Training steps while they are recorded, against the same steps alone, beside torch's own DebugMode."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deterministic import record
from deterministic.trace.file.model import TRACE_LEVELS

from .timing import in_turn, median_ratio

PLAIN = "plain"
MEASURED_STEPS = 8
"""From which the size of a step is taken; at "digest", where segments share a chunk, of many more it is less."""

AIMS = {"values": 1.15, "ops": 1.5}
"""What recorded steps may take, as a ratio to plain ones; "values" 1.05 where the optimizer has no state."""


@dataclass(frozen=True)
class Steps:
    """What the steps of one kind of recording took.

    Attributes:
        milliseconds: Of a step, the fastest.
        ratio: To plain steps in the same round, the median over the rounds, in processor time of one thread.
        ratio_of_best: Of the fastest of both.
        bytes_a_step: What a step adds to the file.
    """

    milliseconds: float
    ratio: float
    ratio_of_best: float
    bytes_a_step: float | None


class Block(nn.Module):
    """A block of a transformer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop, self.heads = nn.Dropout(0.1), heads

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.first(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.out(attended.transpose(1, 2).reshape(batch, length, width)))
        result: Tensor = x + self.drop(self.down(F.gelu(self.up(self.second(x)))))
        return result


class Transformer(nn.Module):
    """A decoder: so many blocks of so wide."""

    def __init__(self, layers: int, width: int, words: int, length: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def convolutional() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small convolutional net and a batch."""
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.1), nn.Linear(64 * 8 * 8, 10)),
    )
    return model, torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))


def transformer(layers: int, width: int, words: int, length: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a transformer and a batch."""
    tokens = torch.randint(0, words, (8, length + 1))
    return Transformer(layers, width, words, length), tokens[:, :-1], tokens[:, 1:].reshape(-1)


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor, Tensor]]] = {
    "convolutional net": convolutional,
    "transformer, 4 layers of 128": partial(transformer, 4, 128, 1000, 64),
    "transformer, 12 layers of 256": partial(transformer, 12, 256, 4000, 128),
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": torch.optim.SGD,  # no state of its own: what is hashed are parameters and gradients
    "AdamW": torch.optim.AdamW,
    "foreach AdamW": partial(torch.optim.AdamW, foreach=True),
    "fused AdamW": partial(torch.optim.AdamW, fused=True),
}


SMALL, MIDDLE, BIG = MODELS
MEASURED = [
    *((model, optimizer) for model in (SMALL, MIDDLE) for optimizer in OPTIMIZERS),
    (BIG, "fused AdamW"),  # a step takes a second
]
"""What is measured together."""


class Training:
    """A trial: some steps inside a context, after one that is not timed."""

    def __init__(self, model: str, optimizer: str, device: str, steps: int) -> None:
        torch.manual_seed(0)
        net, x, y = MODELS[model]()
        self.model, self.x, self.y = net.to(device), x.to(device), y.to(device)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters(), lr=1e-3)
        self.device, self.steps = device, steps

    def step(self) -> None:
        """Make one step."""
        logits = self.model(self.x)
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def timed(self, context: Callable[[], AbstractContextManager[Any]]) -> float:
        """Return the seconds of a step: of this thread's processor time, or on a device by the clock."""
        with context():
            self.step()
            started = self._now()
            for _ in range(self.steps):
                self.step()
            return (self._now() - started) / self.steps

    def _now(self) -> float:
        if self.device == "cpu":
            return time.thread_time()
        torch.accelerator.synchronize()
        return time.perf_counter()


def recordings(folder: Path) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Return what steps are made in, by name."""
    found: dict[str, Callable[[], AbstractContextManager[Any]]] = {PLAIN: contextlib.nullcontext}
    found |= {level: partial(record, folder / f"{level}.trace", level) for level in TRACE_LEVELS}
    return found | {f"torch DebugMode, {kind}": partial(debug_mode, kind) for kind in ("norm", "hash_tensor")}


@contextlib.contextmanager
def debug_mode(kind: str) -> Iterator[None]:
    """Enter torch's DebugMode with hashes of every output; what it keeps is dropped at the end."""
    from torch.utils._debug_mode import DebugMode

    with DebugMode() as mode, mode.log_tensor_hashes(hash_fn=kind):
        yield


def measure(model: str, optimizer: str, *, rounds: int, device: str = "cpu") -> dict[str, Steps]:
    """Measure every kind of recording on one model, side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            training = Training(model, optimizer, device, steps=1 if model == BIG else 4)
            contexts = recordings(Path(folder))
            seconds = in_turn(
                {name: partial(training.timed, context) for name, context in contexts.items()}, rounds=rounds
            )
            sizes: dict[str, float] = {
                str(level): bytes_a_step(training, Path(folder), level) for level in TRACE_LEVELS
            }
    finally:
        torch.set_num_threads(threads)
    plain = seconds[PLAIN]
    return {
        name: Steps(min(taken) * 1e3, median_ratio(taken, plain), min(taken) / min(plain), sizes.get(name))
        for name, taken in seconds.items()
    }


def bytes_a_step(training: Training, folder: Path, level: Any) -> float:
    """Return what a step adds to a trace: the difference of a long and a short one."""
    sizes = []
    for steps in (1, 1 + MEASURED_STEPS):
        path = folder / "size.trace"
        with record(path, level):
            for _ in range(steps):
                training.step()
        sizes.append(os.path.getsize(path))
    return (sizes[1] - sizes[0]) / MEASURED_STEPS


def show(title: str, rows: dict[str, Steps]) -> None:
    """Print one table."""
    print(f"\n{title}\n  {'':<28} {'ms/step':>9} {'ratio':>7} {'of best':>8} {'bytes/step':>11}")
    for name, row in rows.items():
        size = "" if row.bytes_a_step is None else f"{row.bytes_a_step:11.0f}"
        print(f"  {name:<28} {row.milliseconds:9.2f} {row.ratio:7.3f} {row.ratio_of_best:8.3f} {size}")
