"""`invariant` on one process: the mean of what a loss is of each shard, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deterministic import reproducible
from deterministic.distributed import invariant
from deterministic.errors import DeterministicError


@pytest.fixture(autouse=True)
def _scope() -> Iterator[None]:
    with reproducible(seed=0):
        yield


def test_a_loss_is_the_mean_of_the_losses_of_the_shards() -> None:
    loss = invariant(F.cross_entropy, shards=2, shared=["weight"])
    out, targets, weight = torch.randn(6, 3, requires_grad=True), torch.tensor([0, 1, 2, 1, 1, 0]), torch.ones(3)
    weight[1] = 3
    parts = [F.cross_entropy(o, t, weight=weight) for o, t in zip(out.chunk(2), targets.chunk(2), strict=True)]
    assert torch.equal(loss(out, targets, weight=weight), (parts[0] + parts[1]) / 2)
    with torch.no_grad():
        assert torch.equal(loss(out, targets, weight), F.cross_entropy(out, targets, weight=weight))
    with pytest.raises(DeterministicError, match="not one number"):
        invariant(lambda o, t: F.cross_entropy(o, t, reduction="none"), shards=2)(out, targets)
    with pytest.raises(DeterministicError, match="equal shards"):
        loss(out[:5], targets[:5], weight)


def test_a_loss_whose_gradient_does_not_scale_is_refused() -> None:
    def cox(risk: Tensor) -> Tensor:
        return (risk.logcumsumexp(0) - risk).mean()

    def alike(risk: Tensor) -> Tensor:
        most = risk.amax(0, keepdim=True)
        return ((risk - most).exp().cumsum(0).log() + most - risk).mean()

    risk = torch.randn(8, requires_grad=True)
    with pytest.raises(DeterministicError, match=r"found: logcumsumexp"):
        invariant(cox, shards=2)(risk * 2)
    with pytest.raises(DeterministicError, match=r"found: logcumsumexp"):
        invariant(cox, shards=2)(risk)
    invariant(alike, shards=2)(risk.cumsum(0).logcumsumexp(0)).backward()  # what the model did is the model's
    torch.testing.assert_close(cox(risk), alike(risk))
