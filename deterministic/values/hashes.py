"""What a trace says of a value: its type, and 64 bits.

There are two hashes of tensors: one for the host, and one that a device computes without being waited for. Both are of
the bits alone (`bits.integers`): dtype and shape are for the caller to record. Hashes of different algorithms are never
comparable, so a trace says which it has.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from xxhash import xxh3_64, xxh3_64_intdigest

from .bits import components, computed_with, feed, integers, is_plain, memory, row_of_values, undispatched
from .fingerprint import fingerprint
from .numbers import MASK, NOT_COMPARED, UNREADABLE, is_number, number_bits, number_type, signed

HOST = "xxh3-64/1"  # xxh3, 64 bits (https://github.com/Cyan4973/xxHash), of the bytes in little-endian order

DEVICE = "mlin-64/1"
"""Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014) of 32-bit words.

The hash of one block of `BLOCK` words is the sum of each word, as a signed number, times the weight of its place,
modulo 2**64: integer addition commutes, so in whichever order a device adds, the sum is the same. Of more than one
block the sums, each mixed by the finaliser of splitmix64, are the words that are hashed next, until one block is left.
The length is added at the end. Two tensors of one block that differ in one word never have the same hash. Of others
one pair in 2**64 has, or one in 2**32 if they differ in nothing but the signs of two or more floats. Words are those
of a little-endian device.
"""

BLOCK = 1 << 16  # words of a block: as many as there are weights
CHUNK = 16 * BLOCK  # words that are multiplied at once: as many products lie in memory, 8 bytes each

Hash: TypeAlias = "int | Tensor"
"""64 bits, or a 0-dimensional tensor on a device that is fetched later."""

_GOLDEN, _FIRST, _SECOND = (n - (1 << 64) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_FOR_LENGTH, _FOR_PARTS = (n - (1 << 64) for n in (0xD6E8FEB86659FD93, 0xA0761D6478BD642F))

_weights: dict[torch.device, Tensor] = {}
_lock = threading.Lock()


def hash_on_host(tensor: Tensor) -> int:
    """Return the hash `HOST` of a tensor that has values, 0 <= hash < 2**64; from a device a copy. Thread-safe."""
    buffer = memory(tensor)
    if buffer is not None:
        return xxh3_64_intdigest(buffer)
    hashing = xxh3_64()
    with undispatched():
        if row_of_values(tensor) is not None:
            feed(tensor, hashing.update)
            return hashing.intdigest()
        for part in _tensors(tensor):
            hashing.update(hash_on_host(part).to_bytes(8, "little"))
        return hashing.intdigest()


def _tensors(tensor: Tensor) -> list[Tensor]:
    return [part for part in components(tensor).parts.values() if isinstance(part, Tensor)]


def hash_on_device(tensor: Tensor) -> Tensor:
    """Return the hash `DEVICE` of a tensor's bits, where the tensor is, without waiting for it. Thread-safe.

    The first call on a device makes the weights and waits for them, once; while a CUDA graph is captured it makes them
    in the graph. A tensor that is not contiguous, is conjugated or negated is copied first; beyond that some
    `CHUNK` products take memory at a time. Sparse tensors and wrappers must be readable without a copy to the host, or
    that is what they wait for. The result is 0-dimensional, int64; for `collect`.
    """
    with undispatched():
        row = row_of_values(tensor)
        if row is not None:
            return _hash(integers(row))
        total = torch.zeros((), dtype=torch.int64, device=tensor.device)
        for part in _tensors(tensor):
            total = total * _FOR_PARTS + hash_on_device(part)
        return total


def _hash(flat: Tensor) -> Tensor:
    length = flat.numel() * flat.element_size()
    weights = _weights_on(flat.device)
    while _count_of_words(flat) > BLOCK:
        flat = _mixed(_sums(flat, weights))
    words = _words(flat)
    total = (words * weights[: words.numel()]).sum()
    return total.add_(signed(length * _FOR_LENGTH & MASK))


def _sums(flat: Tensor, weights: Tensor) -> Tensor:
    sums = []
    blocks_at_once = min(CHUNK, _count_of_words(flat)) // BLOCK
    products = torch.empty((blocks_at_once, BLOCK), dtype=torch.int64, device=flat.device)
    for chunk in flat.split(4 * CHUNK // flat.element_size()):
        words = _words(chunk)
        whole = words.numel() // BLOCK
        if whole:
            blocks = words[: whole * BLOCK].view(whole, BLOCK)
            sums.append(torch.mul(blocks, weights, out=products[:whole]).sum(1))
        if rest := words.numel() % BLOCK:
            sums.append((words[-rest:] * weights[:rest]).sum().reshape(1))
    return torch.cat(sums)


def _count_of_words(flat: Tensor) -> int:
    return -(-flat.numel() * flat.element_size() // 4)


def _words(flat: Tensor) -> Tensor:
    """Return integers as words of 32 bits, the last one filled up with zeros."""
    missing = -flat.numel() * flat.element_size() % 4
    if missing:
        flat = torch.cat([flat, flat.new_zeros(missing // flat.element_size())])
    elif flat.storage_offset() * flat.element_size() % 4:
        flat = flat.clone()  # words cannot begin there
    return flat.view(torch.int32)


def _mixed(numbers: Tensor) -> Tensor:
    """Return the numbers after the finaliser of splitmix64 (Steele, Lea and Flood, 2014); they are overwritten."""
    numbers.bitwise_xor_((numbers >> 30) & (1 << 34) - 1).mul_(_FIRST)
    numbers.bitwise_xor_((numbers >> 27) & (1 << 37) - 1).mul_(_SECOND)
    return numbers.bitwise_xor_((numbers >> 31) & (1 << 33) - 1)


def _weights_on(device: torch.device) -> Tensor:
    """Return the weights: the first numbers of splitmix64 from the seed 0, each made odd."""
    weights = _weights.get(device)
    if weights is not None:
        return weights
    places = torch.arange(1, BLOCK + 1, device=device)
    made = _mixed(places.mul_(_GOLDEN)).bitwise_or_(1)
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return made  # it belongs to the graph
    if device.type != "cpu":
        torch.accelerator.synchronize(device)  # other streams read it too
    with _lock:
        return _weights.setdefault(device, made)


def collect(hashes: Sequence[Hash]) -> list[int]:
    """Return hashes as numbers, 0 <= hash < 2**64, in order; those of one device come with one copy. Thread-safe."""
    numbers = [0 if isinstance(one, Tensor) else one for one in hashes]
    by_device: dict[torch.device, dict[int, Tensor]] = {}
    with undispatched():
        for place, one in enumerate(hashes):
            if isinstance(one, Tensor):
                by_device.setdefault(one.device, {})[place] = one
        for held in by_device.values():
            for place, number in zip(held, torch.stack([*held.values()]).tolist(), strict=True):
                numbers[place] = number & MASK
    return numbers


class Type(NamedTuple):
    """The type of a tensor, as cheap as it can be taken on every operation."""

    dtype: torch.dtype
    shape: torch.Size
    strides: tuple[int, ...] | None
    device: torch.device | None
    layout: torch.layout

    def __str__(self) -> str:
        text = f"{str(self.dtype).removeprefix('torch.')}{list(self.shape)}"
        if self.strides is not None:
            text += f"/{list(self.strides)}"
        if self.layout is not torch.strided:
            text += f" {str(self.layout).removeprefix('torch.')}"
        return text if self.device is None else f"{text} {self.device}"


def read(value: Any) -> tuple[Type | str, Hash]:
    """Return the type of a value, and the hash of a tensor's logical values, a number's bits, or 64 bits of others.

    The type of a tensor has strides where they are not those of a contiguous one, and the device where it is not the
    CPU. That of other values is the name of their class. Of what has no values or no fingerprint the type says so, and
    the hash is 0. Of a tensor that is spread over ranks it is that of this rank's part, of one inside `torch.vmap` that
    of all samples together. A device is not waited for.

    Raises:
        ValueError: A list, a tuple or a mapping contains itself, or is nested too deep.
    """
    plain = memory(value)
    if plain is not None:
        strides = None if value.is_contiguous() else value.stride()
        return Type(value.dtype, value.shape, strides, None, torch.strided), xxh3_64_intdigest(plain)
    if is_number(value):
        return number_type(value), number_bits(value)
    if isinstance(value, Tensor) and (inner := computed_with(value)) is not value:
        return read(inner)
    name = "text" if isinstance(value, str) else type(value).__name__
    try:
        if isinstance(value, Tensor) and is_plain(value):
            name = str(value.dtype).removeprefix("torch.")
            return _type_of(value), _hash_of(value)
        return name, int(fingerprint(value, full=False)[:16], 16)
    except (TypeError, ValueError, RuntimeError) as error:  # of tensors: meta, freed, fake
        if isinstance(error, ValueError) and isinstance(value, (list, tuple, Mapping)):
            raise
        return _unread(name, value, error), 0


def _type_of(tensor: Tensor) -> Type:
    layout = tensor.layout
    is_contiguous = layout is not torch.strided or tensor.is_nested or tensor.is_contiguous()
    return Type(
        tensor.dtype,
        torch.Size(()) if tensor.is_nested else tensor.shape,
        None if is_contiguous else tensor.stride(),
        None if tensor.is_cpu else tensor.device,
        layout,
    )


def _hash_of(tensor: Tensor) -> Hash:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_meta:
        return int(fingerprint(tensor)[:16], 16)
    return hash_on_host(tensor) if tensor.is_cpu else hash_on_device(tensor)


def _unread(name: str, value: Any, error: Exception) -> str:
    is_tensor = isinstance(value, Tensor)
    if getattr(error, "is_hollow", not is_tensor):  # what stops at a tensor has values, unless that says otherwise
        return f"{name}{' without values' * is_tensor}, {NOT_COMPARED}"
    return f"{name}, {UNREADABLE}"


def number_of(tensor: Tensor) -> Hash | None:
    """Return the 64 bits of a tensor of one real element, as a float; None of any other. A device is not waited for."""
    with undispatched(), torch.no_grad(), suppress(TypeError):  # it may have no values that can be read
        row = row_of_values(tensor)
        if row is not None and row.numel() == 1 and row.is_floating_point():
            is_at_hand = row.device.type in ("cpu", "mps")  # the latter has no float64
            return number_bits(row.item()) if is_at_hand else row.double().view(torch.int64).reshape(())
    return None
