"""How far apart two tensors are: in units in the last place (ULP), and relative to their size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_IEEE = ("float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn")
"""A sign, then a magnitude that grows with the number."""

_NO_NEGATIVE_ZERO = ("float8_e5m2fnuz", "float8_e4m3fnuz")
"""The same, with a NaN in place of -0."""

_NO_SIGN = ("float8_e8m0fnu",)

_INTEGERS = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def distance_of(one: Path, other: Path) -> str:
    """Return in words how far apart two kept tensors are; empty if they cannot be compared, or are the same."""
    if not (one.exists() and other.exists()):
        return ""
    a, b = (torch.load(path, map_location="cpu", weights_only=True) for path in (one, other))
    return distance(a, b)


def distance(a: torch.Tensor, b: torch.Tensor) -> str:
    """Return in words how far apart two tensors of one shape and dtype are; empty if they are the same.

    ULPs are counted as floats follow each other, so that -0.0 and 0.0 are 1 apart; elements that are NaN or infinite
    in one of the two count as different, and not towards the distance. It is empty too for what it does not know to
    compare: other shapes or dtypes, sparse, nested and quantized tensors.

    Args:
        a: One.
        b: The other.

    Example:
        >>> distance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0000002]))
        '1 of 2 elements, by up to 1 ULP (1.2e-07 relative)'
    """
    if not (_is_plain(a) and _is_plain(b)) or a.shape != b.shape or a.dtype != b.dtype:
        return ""
    one, other = (_in_rows(tensor.detach().cpu()) for tensor in (a, b))
    name = _name_of(one)  # of complex numbers that of their parts
    if name in _INTEGERS:
        return _of_integers(one, other)
    return _of_floats(one, other) if name in (*_IEEE, *_NO_NEGATIVE_ZERO, *_NO_SIGN) else ""


def ulps_apart(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """Return for each element of two CPU tensors of one float dtype how many places of it they are apart, as uint64.

    Infinity is the place after the largest number, and NaNs have the places after that.
    """
    one, other = (_places(_bits_of(tensor), _name_of(tensor)) for tensor in (a, b))
    return _apart(one, other)


def _name_of(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bits_of(tensor: torch.Tensor) -> np.ndarray:
    return tensor.view(_BITS[tensor.element_size()]).numpy()


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_nested or tensor.is_meta)


def _in_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements one below the other, the two parts of a complex one beside each other."""
    tensor = tensor.resolve_conj().resolve_neg()
    rows = torch.view_as_real(tensor) if tensor.is_complex() else tensor.unsqueeze(-1)
    return rows.contiguous().reshape(tensor.numel(), -1) if tensor.numel() else rows.reshape(0, 1)


def _of_integers(a: torch.Tensor, b: torch.Tensor) -> str:
    one, other = a.numpy(), b.numpy()
    count = int((one != other).sum())
    if not count or one.dtype == np.bool_:
        return _count(count, one.size)
    return f"{_count(count, one.size)}, by up to {_apart(one, other).max():,}"


def _of_floats(a: torch.Tensor, b: torch.Tensor) -> str:
    differ = _bits_of(a) != _bits_of(b)
    count = int(differ.any(axis=1).sum())
    if not count:
        return ""
    wide_a, wide_b = (tensor.to(torch.float64).numpy() for tensor in (a, b))
    known = differ & np.isfinite(wide_a) & np.isfinite(wide_b)
    unknown = int((differ & ~known).any(axis=1).sum())
    told = [_count(count, len(differ))]
    if unknown:
        told.append("NaN or infinite in one of the two" if unknown == count else f"{unknown:,} of them NaN or infinite")
    if known.any():
        ulp = ulps_apart(a, b)[known].max()
        told.append(f"by up to {ulp:,} ULP ({_relative(wide_a[known], wide_b[known]):.1e} relative)")
    return ", ".join(told)


def _places(bits: np.ndarray, name: str) -> np.ndarray:
    """Return for each float the number of its place among all floats of the dtype, in their order."""
    width = 8 * bits.itemsize
    bits = bits.astype(np.int64)
    if name in _NO_SIGN:
        return bits & ((1 << width) - 1)
    magnitude = bits & ((1 << (width - 1)) - 1)
    return np.where(bits < 0, -magnitude - (name in _IEEE), magnitude)


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


def _count(differing: int, total: int) -> str:
    return f"{differing:,} of {total:,} element{'' if total == 1 else 's'}" if differing else ""
