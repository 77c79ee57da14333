"""What counts of modules, optimizers, schedulers and generators."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deterministic.values.fingerprint import fingerprint

from .objects import Net, trained


def test_a_module_counts_by_its_parameters_and_buffers() -> None:
    net = Net()
    before = fingerprint(net)
    assert fingerprint(Net()) == before
    net.eval()
    net.requires_grad_(False)
    net.extra = 3  # type: ignore[assignment]
    assert fingerprint(net) == before
    for change in (
        lambda net: net.layer.bias.data.add_(1),
        lambda net: net.kept.add_(1),
        lambda net: net.cache.add_(1),
        lambda net: net.double(),
        lambda net: setattr(net, "other", nn.BatchNorm1d(2)),
        lambda net: net.register_buffer("renamed", torch.zeros(2)),
    ):
        changed = Net()
        change(changed)
        assert fingerprint(changed) != before


def test_a_module_counts_as_its_state_dict_and_the_buffers_that_are_not_saved() -> None:
    net = Net()
    assert fingerprint(net) == fingerprint({**net.state_dict(), "cache": net.cache})
    layer = nn.BatchNorm1d(3)
    assert fingerprint(layer) == fingerprint(layer.state_dict()) == fingerprint(dict(layer.state_dict()))


def test_a_loaded_checkpoint_has_the_fingerprint_of_what_was_saved(tmp_path: Path) -> None:
    net = Net()
    optimizer = trained(net)
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved.pt")
    loaded = torch.load(tmp_path / "saved.pt")
    again = Net()
    again_optimizer = torch.optim.AdamW(again.parameters(), lr=0.5)
    again.load_state_dict(loaded["net"])
    again_optimizer.load_state_dict(loaded["optimizer"])
    assert fingerprint(again) == fingerprint(net)
    assert fingerprint(again_optimizer) == fingerprint(optimizer) == fingerprint(loaded["optimizer"])
    assert fingerprint([net.state_dict(), optimizer]) == fingerprint([loaded["net"], loaded["optimizer"]])


def test_an_optimizer_counts_by_its_state_and_settings() -> None:
    before = fingerprint(trained(Net()))
    assert fingerprint(trained(Net())) == before
    again = trained(Net())
    again.step()
    assert fingerprint(again) != before
    again = trained(Net())
    again.param_groups[0]["lr"] = 0.2
    assert fingerprint(again) != before


def test_schedulers_and_scalers_count_by_their_state() -> None:
    def scheduler(steps: int) -> Any:
        optimizer = trained(Net(), torch.optim.SGD)
        made = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        for _ in range(steps):
            optimizer.step()
            made.step()
        return made

    assert fingerprint(scheduler(1)) == fingerprint(scheduler(1)) != fingerprint(scheduler(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    assert fingerprint(scaler) == fingerprint(scaler.state_dict())
    assert fingerprint(scaler) != fingerprint(torch.amp.GradScaler("cpu", init_scale=8.0))


GENERATORS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "random.Random": (lambda: random.Random(1), lambda generator: generator.random()),
    "RandomState": (lambda: np.random.RandomState(1), lambda generator: generator.rand()),
    "cached normal": (lambda: np.random.RandomState(1), lambda generator: generator.standard_normal()),
    "Generator": (lambda: np.random.default_rng(1), lambda generator: generator.random()),
    "BitGenerator": (lambda: np.random.MT19937(1), lambda generator: generator.random_raw()),
    "torch.Generator": (lambda: torch.Generator().manual_seed(1), lambda g: torch.rand(1, generator=g)),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_counts_by_its_state(name: str) -> None:
    make, draw = GENERATORS[name]
    generator = make()
    before = fingerprint(generator)
    assert fingerprint(generator) == fingerprint(make()) == before
    draw(generator)
    assert fingerprint(generator) != before


@pytest.mark.gpu
def test_a_generator_of_a_device_counts_by_its_state() -> None:
    generator = torch.Generator("cuda").manual_seed(1)
    before = fingerprint(generator)
    assert fingerprint(torch.Generator("cuda").manual_seed(1)) == before
    torch.rand(1, device="cuda", generator=generator)
    assert fingerprint(generator) != before != fingerprint(torch.Generator().manual_seed(1))


def test_the_outputs_of_transformers_count_by_their_entries() -> None:
    outputs: Any = pytest.importorskip("transformers.modeling_outputs", reason="transformers is not installed")

    def output(value: float, **more: Any) -> Any:
        return outputs.BaseModelOutput(last_hidden_state=torch.full((2,), value), **more)

    before = fingerprint(output(1.0))
    assert fingerprint(output(1.0)) == fingerprint(output(1.0, attentions=None)) == before
    assert fingerprint(output(2.0)) != before
    assert fingerprint(output(1.0, attentions=(torch.ones(1),))) != before
    changed = output(1.0)
    changed["last_hidden_state"] = torch.zeros(2)
    assert fingerprint(changed) != before
