"""Tensors of every kind that hashes and fingerprints must read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

SPECIAL = ("qint", "quint", "bits")
"""What the names of dtypes begin with that only torch's own quantization makes, or nothing computes with."""

DTYPES = sorted(
    {
        dtype
        for dtype in vars(torch).values()
        if isinstance(dtype, torch.dtype) and not str(dtype).removeprefix("torch.").startswith(SPECIAL)
    },
    key=str,
)


def random_bits(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    """Return a tensor of any dtype with random bits; what they mean as numbers does not matter."""
    generator = torch.Generator().manual_seed(seed)
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    flat = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=generator)
    return flat.reshape(-1).view(dtype).reshape(shape)


def bytes_of(tensor: Tensor) -> bytes:
    """Return the logical values of a small strided tensor, element by element, in little-endian order."""
    values = tensor.detach().resolve_conj().resolve_neg()
    if values.is_complex():
        values = torch.view_as_real(values)
    size = values.element_size()
    numbers = values.view(INTEGERS[size]).flatten().tolist()
    return b"".join((number % (1 << 8 * size)).to_bytes(size, "little") for number in numbers)


def views() -> dict[str, tuple[Tensor, Tensor]]:
    """Return pairs of a view and a contiguous tensor with the same values."""
    base = random_bits(torch.float32, 6, 7)
    numbers = random_bits(torch.complex64, 5)
    conjugate = torch.complex(numbers.real.clone(), numbers.imag.clone().neg())
    return {
        "transposed": (base.t(), torch.stack([base[:, i] for i in range(7)])),
        "expanded": (base[:1].expand(3, 7), torch.cat([base[:1]] * 3)),
        "flipped back": (base.flip(0).flip(0), base),
        "with an offset": (base.reshape(-1)[5:], base.reshape(-1)[5:].clone()),
        "every other": (base[::2, 1::3], base[::2, 1::3].clone(memory_format=torch.contiguous_format)),
        "conjugated": (numbers.conj(), conjugate),
        "negated": (numbers.conj().imag, conjugate.imag.clone()),
        "channels last": (
            base.reshape(1, 2, 3, 7).to(memory_format=torch.channels_last),
            base.reshape(1, 2, 3, 7),
        ),
        "a zero without memory": (torch._efficientzerotensor(4), torch.zeros(4)),
        "requires grad": (base.clone().requires_grad_(), base),
        "a parameter": (torch.nn.Parameter(base), base),
        "computed": (base.clone().requires_grad_().view(42)[:4].view(2, 2), base.view(42)[:4].view(2, 2)),
    }


def composite() -> dict[str, Tensor]:
    """Return tensors that are not one row of values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns at each that it is in beta, or will go
        return _composite(torch.tensor([[0.0, 2.0, 0.0, 0.0], [3.0, 0.0, 0.0, 4.0]]))


def _composite(dense: Tensor) -> dict[str, Tensor]:
    scales, zero_points = torch.tensor([0.5, 0.25]), torch.tensor([0, 1])
    found = {
        "sparse_coo": dense.to_sparse(),
        "sparse_csr": dense.to_sparse_csr(),
        "sparse_csc": dense.to_sparse_csc(),
        "sparse_bsr": dense.to_sparse_bsr((2, 2)),
        "sparse_bsc": dense.to_sparse_bsc((2, 2)),
        "quantized": torch.quantize_per_tensor(dense, 0.5, 1, torch.qint8),
        "quantized by channel": torch.quantize_per_channel(dense, scales, zero_points, 0, torch.qint8),
        "nested": torch.nested.nested_tensor([dense, dense[:1]]),
        "jagged": torch.nested.nested_tensor([dense, dense[:1]], layout=torch.jagged),
        "wrapper": Wrapper(dense, scale=2.0),
    }
    if torch.backends.mkldnn.is_available():
        found["mkldnn"] = dense.to_mkldnn()
    return found


class Wrapper(torch.Tensor):
    """A wrapper subclass: it has no memory of its own, and says what it holds."""

    held: Tensor
    scale: Any

    @staticmethod
    def __new__(cls, inner: Tensor, scale: Any) -> Wrapper:
        made: Wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.held, made.scale = inner, scale
        return made

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["held"], {"scale": self.scale}

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], context: Any, size: Any, stride: Any) -> Wrapper:
        return Wrapper(inner["held"], context["scale"])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{function} was called on a wrapper")


class Opaque(torch.Tensor):
    """A wrapper subclass that does not say what it holds."""

    @staticmethod
    def __new__(cls) -> Opaque:
        made: Opaque = torch.Tensor._make_wrapper_subclass(cls, (2,))
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{function} was called on a wrapper")


class Named(torch.Tensor):
    """A subclass with memory of its own, that sees the functions called on it."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{function} was called")


@contextmanager
def nothing_seen() -> Iterator[None]:
    """Fail if a mode sees an operation or a function."""

    class Operations(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise AssertionError(f"{function} was seen")

    class Functions(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise AssertionError(f"{function} was seen")

    with Operations(), Functions():  # type: ignore[no-untyped-call]
        yield
