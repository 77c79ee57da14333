"""Objects to take fingerprints of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag, IntEnum
from typing import Any, NamedTuple

import torch
from torch import nn

from .tensors import random_bits


class Point(NamedTuple):
    x: Any
    y: Any


class Pixel(NamedTuple):
    x: Any
    y: Any


@dataclass
class Config:
    rate: Any
    layers: tuple[int, ...] = ()


@dataclass
class Options:
    rate: Any
    layers: tuple[int, ...] = ()


class Color(Enum):
    RED = 1
    BLUE = 2


class Number(IntEnum):
    ONE = 1


class Option(Flag):
    A = 1
    B = 2


class Stateful:
    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.skip_init(nn.Linear, 3, 2)  # the global generator draws nothing
        self.tied = self.layer
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(random_bits(torch.int8, *parameter.shape))
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("cache", torch.arange(3), persistent=False)


def trained(net: nn.Module, make: Callable[..., Any] = torch.optim.AdamW) -> Any:
    optimizer = make(net.parameters(), lr=0.1)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def a_function() -> None: ...


def member(class_name: str, name: str, value: Any) -> Any:
    """Return the only member of a new Enum."""
    make: Any = Enum
    return make(class_name, {name: value})[name]
