"""Objects to take fingerprints of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass(eq=False)
class DataModule(nn.Module):
    """A dataclass that is a module: its field says nothing of its weights."""

    weight: float
    width: int = 1

    def __post_init__(self) -> None:
        super().__init__()
        weight, self.weight = self.weight, 0.0
        self.layer = nn.Parameter(torch.full((self.width,), weight))


@dataclass
class DataState:
    """A dataclass that says itself what its state is."""

    hidden: Any
    rate: float = 1.0

    def __post_init__(self) -> None:
        self._state, self.hidden = self.hidden, None

    def state_dict(self) -> dict[str, Any]:
        return {"state": self._state}


@dataclass
class DataDict(dict[str, Any]):
    """A dataclass that is a dict; as in transformers' `ModelOutput` a field is an entry, too."""

    entry: Any = None
    beside: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self["entry"] = self.entry


@dataclass
class DataList(list[Any]):
    entries: Any = ()
    beside: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.extend(self.entries)
        self.entries = ()


@dataclass
class DataFloat(float):
    unit: str = ""

    def __new__(cls, value: float, unit: str = "") -> DataFloat:
        return super().__new__(cls, value)

    def __init__(self, value: float, unit: str = "") -> None:
        self.unit = unit


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
