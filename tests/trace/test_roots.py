"""Several outermost modules: what is recorded of them comes in the order in which they were met."""

from __future__ import annotations

import torch
from torch import nn

from .recorded import recorded


def test_modules_are_looked_at_in_the_order_in_which_they_were_called() -> None:
    def body() -> None:
        modules = [nn.LayerNorm(number) for number in range(1, 21)]
        kept.append(modules)
        for number, module in enumerate(modules, 1):
            module(torch.ones(number))
        with torch.no_grad():
            for number, module in enumerate(modules):
                module.bias.add_(number)

    kept: list[list[nn.LayerNorm]] = []  # so that a later run has them at other addresses
    found = [recorded(body, "values").hashes() for _ in range(3)]
    assert found[0] == found[1] == found[2]
