"""Pairs of tensors that differ in something that a careless hash is blind to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _flipped(tensor: Tensor, *places: int, bit: int) -> Tensor:
    changed = tensor.clone()
    mask = -(1 << 31) if bit == 31 else 1 << bit
    for place in places:
        changed.view(torch.int32)[place] ^= mask
    return changed


def _swapped(tensor: Tensor, one: slice, other: slice) -> Tensor:
    changed = tensor.clone()
    changed[one], changed[other] = tensor[other], tensor[one]
    return changed


def changes() -> dict[str, tuple[Tensor, Tensor]]:
    """Return pairs of different tensors, by what was changed."""
    normal: Callable[..., Tensor] = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    generator = torch.Generator().manual_seed(0)
    base, doubles, big = normal(1000), normal(1000).double(), normal(200_000)
    nan, pair, zeros = base.clone(), base.clone(), torch.zeros(10)
    nan[5] = float("nan")
    pair[10] = pair[20] = 1.0
    sevens, negated = pair.clone(), doubles.clone()
    sevens[10] = sevens[20] = 7.0
    negated[[4, 9]] *= -1
    whole = torch.arange(1 << 24, (1 << 24) + 50)
    return {
        "one low bit": (base, _flipped(base, 5, bit=0)),
        "one high bit": (base, _flipped(base, 5, bit=30)),
        "two elements swapped": (base, _swapped(base, slice(3, 4), slice(700, 701))),
        "reversed": (base, base.flip(0)),
        "permuted": (base, base[torch.randperm(1000, generator=generator)]),
        "two blocks swapped": (big, _swapped(big, slice(0, 65536), slice(65536, 131072))),
        "one bit of a later block": (big, _flipped(big, 150_000, bit=3)),
        "one bit of the last element": (big, _flipped(big, 199_999, bit=0)),
        "one sign": (base, _flipped(base, 4, bit=31)),
        "two signs": (base, _flipped(base, 4, 9, bit=31)),
        "all signs": (base, -base),
        "two signs of doubles": (doubles, negated),
        "one zero negative": (zeros, _flipped(zeros, 3, bit=31)),
        "payload of a nan": (nan, _flipped(nan, 5, bit=0)),
        "sign of a nan": (nan, _flipped(nan, 5, bit=31)),
        "a pair of equal values": (pair, sevens),
        "more zeros": (zeros, torch.zeros(20)),
        "many more zeros": (torch.zeros(65536), torch.zeros(3 * 65536)),
        "one more zero byte": (torch.zeros(9, dtype=torch.int8), torch.zeros(10, dtype=torch.int8)),
        "ones and twos": (torch.ones(4), torch.full((4,), 2.0)),
        "float and double": (torch.ones(3), torch.ones(3, dtype=torch.float64)),
        "beyond 24 bits": (whole, whole + (torch.arange(50) == 0)),
        "bfloat16": (base.bfloat16(), _flipped(base.bfloat16(), 5, bit=0)),
        "bool": (torch.tensor([True, False, False]), torch.tensor([False, True, False])),
    }


SAME_BITS = {
    "shape": (torch.arange(1000.0).view(20, 50), torch.arange(1000.0).view(50, 20)),
    "dimensions": (torch.tensor(1.0), torch.tensor([1.0])),
    "shape of nothing": (torch.zeros(0, 3), torch.zeros(3, 0)),
    "dtype": (torch.ones(3), torch.ones(3).view(torch.int32)),
    "dtype of nothing": (torch.zeros(0), torch.zeros(0, dtype=torch.float64)),
    "dtypes of a size": (torch.ones(3, dtype=torch.half), torch.ones(3, dtype=torch.half).view(torch.bfloat16)),
    "signedness": (torch.ones(3, dtype=torch.int8), torch.ones(3, dtype=torch.uint8)),
    "complex": (torch.ones(2, 2), torch.view_as_complex(torch.ones(2, 2))),
}
"""Pairs with the same bits that differ in what a trace records beside the hash, and a fingerprint includes."""
