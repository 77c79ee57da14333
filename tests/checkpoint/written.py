"""Checkpoints as these tests write, change and compare them."""

from __future__ import annotations

import json
import resource
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from xxhash import xxh3_128

from deterministic import load_checkpoint, save_checkpoint
from deterministic.errors import CheckpointError

NO_CHECKSUM = "0" * 32


class Plain:
    """An object with a state of its own."""

    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def there_and_back(path: Path, value: Any) -> Any:
    save_checkpoint(path, value=value)
    return load_checkpoint(path, value=None)["value"]


def raw(tensor: Tensor) -> bytes:
    """Return the bytes of a strided tensor's values, in their order."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    plain = plain if plain.is_contiguous() else plain.contiguous()
    start = plain.storage_offset() * plain.element_size()
    whole = torch.empty(0, dtype=torch.uint8).set_(plain.untyped_storage(), start, (plain.nbytes,), (1,))
    return whole.numpy().tobytes()


def components(tensor: Tensor) -> list[Tensor]:
    """Return the strided tensors of which a tensor is made."""
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    if tensor.is_quantized and tensor.qscheme() is torch.per_tensor_affine:
        return [tensor.int_repr(), torch.tensor([tensor.q_scale()], dtype=torch.float64)]
    if tensor.is_quantized:
        return [tensor.int_repr(), tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()]
    return [tensor]


def assert_same_tensor(one: Tensor, other: Tensor) -> None:
    assert isinstance(other, Tensor)
    kinds = [(t.dtype, t.layout, t.device, t.requires_grad, t.is_nested, t.is_quantized) for t in (one, other)]
    assert kinds[0] == kinds[1]
    if not one.is_nested:
        assert one.shape == other.shape
    parts = [components(tensor) for tensor in (one, other)]
    assert [(part.dtype, part.shape) for part in parts[0]] == [(part.dtype, part.shape) for part in parts[1]]
    assert [raw(part) for part in parts[0]] == [raw(part) for part in parts[1]]


def assert_same(one: Any, other: Any) -> None:
    """Values of the same types, and the same bits, in the same order."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert_same_tensor(one, other)
    elif isinstance(one, (np.ndarray, np.generic)):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    elif isinstance(one, Mapping):
        assert len(one) == len(other)
        for pair in zip(one.items(), other.items(), strict=True):
            assert_same(*pair)
    elif isinstance(one, (list, tuple)) or hasattr(one, "maxlen"):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    elif isinstance(one, float):
        assert struct.pack("<d", one) == struct.pack("<d", other)
    elif isinstance(one, complex):
        assert struct.pack("<dd", one.real, one.imag) == struct.pack("<dd", other.real, other.imag)
    else:
        assert one == other


def sealed(header: Any, data: bytes = b"") -> bytes:
    """Return a file with a right checksum, whatever its header says.

    Args:
        header: JSON, or its text; where the checksum belongs are zeros.
        data: Behind the header.
    """
    text = header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))
    encoded = text.encode()
    encoded += b" " * (-len(encoded) % 8)
    whole = struct.pack("<Q", len(encoded)) + encoded + data
    checksum = xxh3_128(whole).hexdigest().encode()
    return whole.replace(NO_CHECKSUM.encode(), checksum, 1)


def taken_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file, with zeros for the checksum, and the data."""
    whole = path.read_bytes()
    (length,) = struct.unpack_from("<Q", whole)
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"]["checksum"] = NO_CHECKSUM
    return header, whole[8 + length :]


class Forgery:
    """A file in which anything can be replaced; its checksum is right again then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header, self.data = taken_apart(path)

    def text(self, name: str) -> Any:
        return json.loads(self.header["__metadata__"][name])

    def write(self, header: Any = None, data: bytes | None = None) -> None:
        self.path.write_bytes(sealed(self.header if header is None else header, self.data if data is None else data))

    def replace_text(self, name: str, plain: Any) -> None:
        text = plain if isinstance(plain, str) else json.dumps(plain)
        self.write({**self.header, "__metadata__": {**self.header["__metadata__"], name: text}})

    def plain_value(self) -> Any:
        """Return what stands for the value."""
        return self.text("values")["objects"]["value"]["value"]

    def replace_value(self, plain: Any) -> None:
        values = self.text("values")
        values["objects"]["value"]["value"] = plain
        self.replace_text("values", values)


def forged(path: Path, value: Any) -> Forgery:
    """Return a checkpoint with one value, to be changed."""
    save_checkpoint(path, value=value)
    return Forgery(path)


def load_value(path: Path) -> Any:
    return load_checkpoint(path, value=None)["value"]


def assert_refused(path: Path, found: str = "holds something that no version of this library writes") -> None:
    """It is refused, and little memory was taken for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=found):
        load_value(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # KiB, of which a test may take some
