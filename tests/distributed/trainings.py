"""Trainings on any number of ranks: `python -m tests.ranks COUNT tests.distributed.trainings FOLDER JOB...`.

A job is a model, and how it is trained: "cnn", "transformer,amp", "mlp,clip". Each rank leaves what it ended with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from deterministic import fingerprint, make_loader, reproducible
from deterministic.distributed import clip_grad_norm_, invariant, world_invariant

from ..ranks import MEETING, meet

STEPS = 3


class Convolutions(nn.Module):
    """With statistics of batches, and draws."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))
        self.last = nn.Linear(8 * 36, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images).flatten(1))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """With weights that are tied, and draws."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 32, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens)))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.layers = nn.LSTM(16, 24, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(24, 32)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens))[0])  # type: ignore[no-any-return]


class Checkpointed(nn.Module):
    """One that computes its middle again in the backward pass, and would count its statistics twice."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Sequential(nn.Linear(12, 24), nn.BatchNorm1d(24), nn.GELU(), nn.Dropout(0.1))
        self.last = nn.Linear(24, 5)

    def forward(self, vectors: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        return self.last(checkpoint(self.middle, vectors, use_reentrant=False))  # type: ignore[no-any-return]


class Routed(nn.Module):
    """With parts of the same size, of which a shard takes one or the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 8)
        self.parts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.last = nn.Linear(8, 5)

    def forward(self, vectors: Tensor) -> Tensor:
        part = self.parts[int(vectors.sum() > 0)]
        return self.last(part(self.first(vectors).relu()).relu())  # type: ignore[no-any-return]


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=32, n_positions=8))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn": Convolutions,
    "transformer": Transformer,
    "lstm": Recurrent,
    "mlp": perceptron,
    "again": Checkpointed,
    "gpt2": gpt2,
    "routed": Routed,
}


def data_for(model: str) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    if model in ("transformer", "lstm", "gpt2"):
        tokens = torch.randint(0, 32, (96, 8), generator=generator)
        return [(row, row.roll(-1)) for row in tokens]
    shape = (3, 8, 8) if model == "cnn" else (12,)
    labels = torch.randint(0, 5, (96,), generator=generator)
    return [(torch.randn(shape, generator=generator), label) for label in labels]


def sharded(net: nn.Module, ways: Collection[str]) -> nn.Module:
    """Shard a model, and each layer by itself."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    how: dict[str, Any] = {"reshard_after_forward": False} if "kept" in ways else {}
    if "half" in ways and os.environ["WORLD_SIZE"] == "4":  # on fewer ranks it has to be a bool
        how["reshard_after_forward"] = 2
    if "bf16" in ways:
        how["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for part in net.modules():
        if type(part).__name__ in ("TransformerEncoderLayer", "GPT2Block"):
            fully_shard(part, **how)
    return fully_shard(net, **how)  # type: ignore[return-value]


def whole(values: Any) -> Any:
    """Return the same values, with tensors that are spread over the ranks as whole ones."""
    return tree_map(lambda one: one.full_tensor().detach() if hasattr(one, "full_tensor") else one, values)


def train(job: str, steps: int = STEPS) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Train a model as any loop would, but for one line."""
    name, *ways = job.split(",")
    ranks = int(os.environ["WORLD_SIZE"])
    shards = 4 if ranks % 3 else 6
    with reproducible(seed=5, num_threads=1):
        net = MODELS[name]()
        wrapped = net
        if "fsdp" in ways:
            wrapped = sharded(net, ways)
        elif ranks > 1:
            wrapped = nn.parallel.DistributedDataParallel(net, bucket_cap_mb=0.01)
        model = wrapped if "plain" in ways else world_invariant(wrapped, shards=shards)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
        weights = torch.linspace(0.5, 2, 5)
        loss_of: Callable[..., Tensor] = F.cross_entropy
        if "weighted" in ways:
            loss_of = invariant(lambda out, to: F.cross_entropy(out, to, weight=weights), shards=shards)
        if "binary" in ways:
            of_bits = invariant(F.binary_cross_entropy_with_logits, shards=shards)
            loss_of = lambda out, to: of_bits(out[:, :3], (to[:, None] > torch.arange(3)).float())  # noqa: E731
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2, enabled="scaled" in ways)
        loader = make_loader(data_for(name), global_batch_size=4 * shards, shuffle=True)
        done = 0
        while done < steps:
            for inputs, targets in loader:
                if done == steps:
                    break
                done += 1
                optimizer.zero_grad(set_to_none="zeros" not in ways)
                with torch.autocast("cpu", torch.bfloat16, enabled="amp" in ways):
                    if name == "gpt2":
                        loss = model(input_ids=inputs, labels=inputs).loss
                    elif "twice" in ways:
                        loss = loss_of(model(inputs), targets) + 0.1 * model(-inputs).square().mean()
                    else:
                        loss = loss_of(model(inputs).flatten(0, -2).float(), targets.flatten())
                if "accumulated" in ways:
                    model(-inputs).square().mean().backward()
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                if "clip" in ways:
                    nn.utils.clip_grad_norm_(net.parameters(), 0.1)
                if "rows" in ways:
                    clip_grad_norm_(net.parameters(), 0.1)
                scaler.step(optimizer)
                scaler.update()
    return net, optimizer


def prepare() -> None:
    import transformers  # noqa: F401 - takes seconds, once for all ranks


def main(folder: str, *jobs: str) -> None:
    torch.set_num_threads(1)
    if int(os.environ["WORLD_SIZE"]) > 1 or any("fsdp" in job for job in jobs):
        meet()
    found: dict[str, Any] = {}
    for job in jobs:
        is_to_differ = not {"plain", "clip"}.isdisjoint(job.split(","))
        net, optimizer = train(job, 2 * STEPS if is_to_differ else STEPS)
        assert all(buffer.any() for name, buffer in net.named_buffers() if "running" in name), "they were not settled"
        found[job] = [fingerprint(whole([*values])) for values in (net.parameters(), net.buffers())]
        found[job].append(fingerprint(whole(optimizer.state_dict())))
    rank = os.environ["RANK"]
    (Path(folder) / f"{os.environ['WORLD_SIZE']}-{rank}.json").write_text(json.dumps(found))
    if MEETING in os.environ and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
