"""How far apart two tensors are: in units in the last place (ULP), and relative to their size.

Importing it does not import torch, nor does telling how far apart most elements are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

_IEEE = ("float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn")
"""A sign, then a magnitude that grows with the number."""

_OTHERS = ("float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e8m0fnu")
"""The same with a NaN in place of -0, and one without a sign."""

_MOST_ULPS = 10_000  # more of them are no rounding, and tell nobody how far apart the values are

_INTEGERS = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def distance(a: torch.Tensor, b: torch.Tensor) -> str:
    """Return in words how far apart two tensors of one shape and dtype are; empty if they are the same.

    ULPs are counted as floats follow each other, so that -0.0 and 0.0 are 1 apart; elements that are NaN or infinite
    in one of the two count as different, and not towards the distance. It is empty too for what it does not know to
    compare: other shapes or dtypes, sparse, nested and quantized tensors.

    Example:
        >>> import torch
        >>> distance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0000002]))
        '1 of 2 elements, by up to 1 ULP (1.2e-07 relative)'
    """
    return apart(elements_of(a), elements_of(b))


class Elements(NamedTuple):
    """The elements of a tensor."""

    name: str  # their dtype; of complex ones that of the two parts
    shape: tuple[int, ...]  # the tensor's
    # The elements as integers of their size, one below the other, the parts of a complex one beside each other.
    bits: np.ndarray


def elements_of(tensor: torch.Tensor) -> Elements | None:
    """Return the elements of a tensor on any device; None if it has none, or of a kind that is not known here."""
    import torch

    from .bits import integers, kind_of

    if kind_of(tensor) != "strided" or tensor.is_meta or not tensor.numel():
        return None
    rows = tensor.detach().cpu().resolve_conj().resolve_neg()
    rows = (torch.view_as_real(rows) if rows.is_complex() else rows).reshape(rows.numel(), -1)
    name = str(rows.dtype).removeprefix("torch.")
    if name not in (*_INTEGERS, *_IEEE, *_OTHERS):
        return None
    return Elements(name, tuple(tensor.shape), integers(rows).numpy().reshape(rows.shape))


def apart(one: Elements | None, other: Elements | None) -> str:
    """Return `distance` of two tensors whose elements these are."""
    if one is None or other is None or one[:2] != other[:2] or one.bits.shape != other.bits.shape:
        return ""
    name = one.name
    differ = one.bits != other.bits
    count, total = int(differ.any(axis=1).sum()), len(differ)
    if not count:
        return ""
    texts = [f"{count:,} of {total:,} element{'' if total == 1 else 's'}"]
    if name in _INTEGERS:
        texts += [] if name == "bool" else [f"by up to {_apart(one.bits.view(name), other.bits.view(name)).max():,}"]
        return ", ".join(texts)
    wide, other_wide = map(_wide, (one, other))
    known = differ & np.isfinite(wide) & np.isfinite(other_wide)
    unknown = int((differ & ~known).any(axis=1).sum())
    if unknown:
        texts += ["NaN or infinite in one of the two" if unknown == count else f"{unknown:,} of them NaN or infinite"]
    if known.any():
        ulps, relative = ulps_apart(one, other)[known].max(), _relative(wide[known], other_wide[known])
        how_far = f"{relative:.1e} relative"
        texts += [f"by up to {how_far if ulps > _MOST_ULPS else f'{ulps:,} ULP ({how_far})'}"]
    return ", ".join(texts)


def ulps_apart(a: Elements, b: Elements) -> np.ndarray:
    """Return for each element of two tensors of one float dtype how many places of it they are apart, as uint64.

    Infinity is the place after the largest number, and NaNs have the places after that.
    """
    return _apart(_places(a.bits, a.name), _places(b.bits, b.name))


def _wide(elements: Elements) -> np.ndarray:
    if elements.name in ("float64", "float32", "float16"):
        return elements.bits.view(elements.name).astype(np.float64)
    import torch  # numpy has none of the others

    rows = torch.from_numpy(elements.bits).view(getattr(torch, elements.name))
    wide: np.ndarray = rows.to(torch.float64).numpy()
    return wide


def _places(bits: np.ndarray, name: str) -> np.ndarray:
    """Return for each float the number of its place among all floats of the dtype, in their order."""
    sign = 8 * bits.itemsize - 1
    bits = bits.astype(np.int64)
    if name == "float8_e8m0fnu":
        return bits
    magnitude = bits & ((1 << sign) - 1)
    return np.where(bits >> sign & 1, -magnitude - (name in _IEEE), magnitude)


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the differences of two arrays of integers as uint64: they may be larger than any of their dtype."""
    apart: np.ndarray = np.maximum(one, other).astype(np.uint64) - np.minimum(one, other).astype(np.uint64)
    return apart  # modulo 2**64 they are what they were


def _relative(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference, as a part of the larger of the two."""
    size = np.maximum(np.abs(one), np.abs(other))
    size[size == 0] = 1
    with np.errstate(over="ignore"):
        apart = np.abs(one - other) / size
    return float(np.where(np.isinf(apart), np.abs(one / size - other / size), apart).max())
