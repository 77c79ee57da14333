"""The bits of tensors of every kind, and the tensors that have none."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from deterministic.values import bits as module
from deterministic.values.bits import components, computed_with, feed, integers, memory, row_of_values, undispatched

from .tensors import DTYPES, INTEGERS, Named, Opaque, Wrapper, bytes_of, composite, nothing_seen, random_bits, views


def bits(tensor: Tensor) -> Tensor:
    with undispatched():
        row = row_of_values(tensor)
        assert row is not None
        return integers(row)


def fed(tensor: Tensor) -> bytes:
    found = bytearray()
    feed(tensor, lambda part: found.extend(memoryview(part).cast("B")))
    return bytes(found)


def remembered(tensor: Tensor) -> bytes | None:
    found = memory(tensor)
    return None if found is None else bytes(found)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bits_of_every_dtype(dtype: torch.dtype) -> None:
    tensor = random_bits(dtype, 3, 5)
    for one in (tensor, tensor.t(), tensor[1:, 1:], tensor[0, 0], tensor[:0]):
        found = bits(one)
        assert found.dtype in INTEGERS.values()
        assert found.dim() == 1
        assert bytes_of(found) == bytes_of(one) == fed(one) == remembered(one)


def test_there_are_dtypes_of_every_size() -> None:
    assert {1, 2, 4, 8, 16} <= {dtype.itemsize for dtype in DTYPES}
    assert {"torch.float8_e4m3fn", "torch.uint64", "torch.complex32", "torch.bool"} <= {str(dtype) for dtype in DTYPES}


@pytest.mark.parametrize("name", views())
def test_the_bits_of_a_view_are_those_of_its_values(name: str) -> None:
    view, values = views()[name]
    assert bytes_of(bits(view)) == fed(view) == bytes_of(values)
    assert remembered(view) in (None, bytes_of(values))


def test_a_plain_tensor_is_read_where_it_lies() -> None:
    tensor = random_bits(torch.float32, 4, 4)
    found = memory(tensor[1:])
    tensor[1, 0] = 7.0
    assert bytes(found)[:4] == bytes_of(torch.tensor(7.0))
    assert bits(tensor).data_ptr() == tensor.data_ptr()


def test_the_bits_of_a_tensor_of_inference_mode() -> None:
    with torch.inference_mode():
        tensor = torch.ones(3)
        assert remembered(tensor) == fed(tensor) == bytes_of(torch.ones(3))
    assert remembered(tensor) == fed(tensor) == bytes_of(torch.ones(3))


def test_a_big_tensor_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 32)
    for tensor in (random_bits(torch.float32, 5, 7), random_bits(torch.complex64, 3, 40), random_bits(torch.int8, 99)):
        for one in (tensor, tensor.t() if tensor.dim() == 2 else tensor[::3], tensor.expand(2, *tensor.shape)):
            parts: list[int] = []
            feed(one, lambda part, parts=parts: parts.append(part.nbytes))  # type: ignore[misc]
            assert len(parts) > 1
            assert max(parts) <= 32
            assert (memory(one) is None) == (not one.is_contiguous())
            assert fed(one) == bytes_of(one)


def test_an_expanded_tensor_takes_no_memory_of_its_size() -> None:
    largest = 0

    def update(part: Any) -> None:
        nonlocal largest
        largest = max(largest, part.nbytes)

    feed(torch.ones(1).expand(5, 2**22), update)
    assert largest == module.PIECE


def test_on_a_big_endian_machine_nothing_is_read_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bool(module._PLAIN_KEYS) == (sys.byteorder == "little")
    monkeypatch.setattr(module, "_PLAIN_KEYS", set())
    tensor = random_bits(torch.complex64, 3)
    assert memory(tensor) is None
    assert fed(tensor) == bytes_of(tensor)


def test_no_mode_sees_an_operation() -> None:
    plain = torch.ones(2, 3)
    pairs = [pair for name, pair in views().items()]
    tensors = [*composite().values(), plain]
    expected = [bytes_of(values) for _, values in pairs]
    with nothing_seen():
        found = [bits(view) for view, _ in pairs]
        for view, _ in pairs:
            feed(view, lambda part: None)
        for tensor in tensors:
            components(tensor)
        memory(plain)
    assert [bytes_of(one) for one in found] == expected


def test_a_subclass_with_memory_of_its_own_is_read_and_not_asked() -> None:
    tensor = torch.ones(3).as_subclass(Named)
    with torch._C.DisableTorchFunction():
        found = bits(tensor).tolist(), fed(tensor)
    assert fed(tensor) == found[1] == bytes_of(torch.ones(3))


def test_fake_mode_does_not_make_a_real_tensor_fake() -> None:
    tensor = random_bits(torch.float32, 3, 2).t()
    with FakeTensorMode():
        found = bits(tensor), fed(tensor)
    assert bytes_of(found[0]) == found[1] == bytes_of(tensor)


def test_the_tensor_inside_a_gradient_is_read() -> None:
    found = []

    def loss(tensor: Tensor) -> Tensor:
        found.append((memory(tensor), fed(tensor), bits(tensor)))
        return tensor.sum()

    torch.func.grad(loss)(torch.arange(3.0))
    torch.func.grad(lambda one: torch.func.grad(loss)(one).sum())(torch.arange(3.0))
    assert [one[:2] for one in found] == [(None, bytes_of(torch.arange(3.0)))] * 2
    assert [bytes_of(one[2]) for one in found] == [bytes_of(torch.arange(3.0))] * 2


def freed() -> Tensor:
    tensor = torch.ones(3)
    tensor.untyped_storage().resize_(0)
    return tensor


def fake() -> Tensor:
    with FakeTensorMode():
        return torch.ones(3)


UNREADABLE = {
    "fake": (fake, "a fake tensor has no values"),
    "meta": (lambda: torch.ones(3, device="meta"), "a meta tensor has no values"),
    "lazy": (lambda: torch.nn.LazyLinear(2).weight, "a lazy tensor has no values"),
    "freed": (freed, "the memory of a tensor was freed"),
    "opaque": (Opaque, "Opaque does not say where its values are"),
    "functional": (lambda: torch._to_functional_tensor(torch.ones(3)), "inside a function transform"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_has_no_values_is_refused(name: str) -> None:
    make, text = UNREADABLE[name]
    tensor = make()
    assert memory(tensor) is None
    for read in (bits, fed, components):
        with pytest.raises(TypeError, match=text):
            read(tensor)


def test_a_batched_tensor_is_refused() -> None:
    def read(tensor: Tensor) -> Tensor:
        assert memory(tensor) is None
        bits(tensor)
        return tensor

    with pytest.raises(TypeError, match=r"inside a function transform(.|\n)*found: a tensor inside torch\.vmap"):
        torch.func.vmap(read)(torch.ones(2, 3))


def test_within_transforms_all_samples_are_computed_with_together() -> None:
    met = []

    def square(weight: Tensor, x: Tensor) -> Tensor:
        met.extend([computed_with(weight), computed_with(x)])
        return (weight * x).square().sum()

    weight, x = torch.ones(3), torch.arange(6.0).reshape(2, 3)
    torch.func.vmap(torch.func.grad(square), (None, 0))(weight, x)
    for found, given in zip(met, (weight, x), strict=True):
        assert (found.shape, found.data_ptr()) == (given.shape, given.data_ptr())


@pytest.mark.parametrize("name", composite())
def test_a_tensor_of_several_components_has_no_bits(name: str) -> None:
    tensor = composite()[name]
    assert memory(tensor) is None
    with pytest.raises(TypeError, match=r"not one row of values(.|\n)*components\(\)"):
        fed(tensor)


@pytest.mark.parametrize("name", [name for name in composite() if name.startswith("sparse")])
def test_the_components_of_a_sparse_tensor_make_it_again(name: str) -> None:
    tensor = composite()[name]
    kind, parts = components(tensor)
    assert kind == name
    if name == "sparse_coo":
        again = torch.sparse_coo_tensor(parts["indices"], parts["values"], tensor.shape, check_invariants=True)
    else:
        make: Any = torch.sparse_compressed_tensor
        again = make(*parts.values(), tensor.shape, layout=tensor.layout, check_invariants=True)
    assert torch.equal(again.to_dense(), tensor.to_dense())


def test_a_sparse_tensor_is_coalesced_in_a_copy() -> None:
    tensor = torch.sparse_coo_tensor(
        torch.tensor([[2, 0, 2]]), torch.tensor([1.0, 5.0, 2.0]), (4,), check_invariants=True
    )
    kind, parts = components(tensor.requires_grad_())
    assert kind == "sparse_coo"
    assert {name: part.tolist() for name, part in parts.items()} == {"indices": [[0, 2]], "values": [5.0, 3.0]}
    assert not tensor.is_coalesced()


def test_the_components_of_a_quantized_tensor() -> None:
    by_tensor, by_channel = composite()["quantized"], composite()["quantized by channel"]
    values = {name: part.tolist() for name, part in components(by_tensor).parts.items()}
    assert values == {"values": [[1, 5, 1, 1], [7, 1, 1, 9]], "scale": 0.5, "zero_point": 1}
    values = {name: part.tolist() for name, part in components(by_channel).parts.items()}
    assert values == {
        "values": [[0, 4, 0, 0], [13, 1, 1, 17]],
        "scale": [0.5, 0.25],
        "zero_point": [0, 1],
        "axis": 0,
    }


def test_the_components_of_nested_tensors_are_the_tensors_in_them() -> None:
    dense = components(composite()["nested"])
    jagged = components(composite()["jagged"])
    assert dense.kind == jagged.kind == "nested"
    assert [part.tolist() for part in dense.parts.values()] == [part.tolist() for part in jagged.parts.values()]
    assert [tuple(part.shape) for part in dense.parts.values()] == [(2, 4), (1, 4)]


def test_a_wrapper_is_taken_apart_as_it_says() -> None:
    inner = torch.ones(2)
    kind, parts = components(Wrapper(inner, scale=3.0))
    assert kind == "wrapper Wrapper"
    assert parts["held"] is inner
    assert parts["context"] == {"scale": 3.0}


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no mkldnn")
def test_the_component_of_an_mkldnn_tensor_is_the_dense_one() -> None:
    assert torch.equal(components(composite()["mkldnn"]).parts["values"], composite()["sparse_coo"].to_dense())


def test_a_plain_tensor_is_its_own_component() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    kind, parts = components(parameter)
    assert (kind, [*parts]) == ("strided", ["values"])
    assert parts["values"] is parameter
