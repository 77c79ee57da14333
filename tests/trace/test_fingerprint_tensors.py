"""Which bits of a tensor count for its fingerprint."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_digest

from deterministic.values.fingerprint import digest_of, fingerprint, fingerprint_if_any

from ..processes import run_python
from .changes import SAME_BITS, changes
from .tensors import DTYPES, Named, Wrapper, bytes_of, composite, random_bits, views


@pytest.mark.parametrize("name", [*changes(), *SAME_BITS])
def test_a_change_of_a_tensor_is_seen(name: str) -> None:
    one, other = {**changes(), **SAME_BITS}[name]
    assert fingerprint(one) == fingerprint(one.clone())
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint([one]) != fingerprint([other])


@pytest.mark.parametrize("name", views())
def test_how_a_view_came_about_does_not_count(name: str) -> None:
    view, values = views()[name]
    assert fingerprint(view) == fingerprint(values)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_flipped_bit_of_every_dtype_is_seen(dtype: torch.dtype) -> None:
    tensor, other = random_bits(dtype, 3, 4), random_bits(dtype, 3, 4)
    assert fingerprint(tensor) == fingerprint(other)
    other.view(torch.uint8).view(-1)[-1] ^= 1
    assert fingerprint(tensor) != fingerprint(other)
    assert fingerprint(tensor.t()) == fingerprint(
        tensor.view(torch.uint8).view(3, 4, -1).transpose(0, 1).contiguous().view(dtype).view(4, 3)
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_where_the_digest_of_the_bytes_is_known_the_values_are_not_read(dtype: torch.dtype) -> None:
    tensor = random_bits(dtype, 3, 4)
    expected = fingerprint({"weight": tensor})
    known = {id(tensor): (tensor, digest_of(tensor, xxh3_128_digest(bytes_of(tensor))))}
    tensor.view(torch.uint8).view(-1)[-1] ^= 1
    assert fingerprint_if_any({"weight": tensor}, known) == expected != fingerprint({"weight": tensor})


def test_the_same_bits_in_every_dtype_differ() -> None:
    data = torch.zeros(16, dtype=torch.uint8)
    tensors = [data.view(dtype) for dtype in DTYPES]
    assert len({fingerprint(one) for one in tensors}) == len(DTYPES)
    assert len({fingerprint(one[:0]) for one in tensors}) == len(DTYPES)


def test_a_subclass_without_particulars_counts_by_its_values() -> None:
    tensor = torch.ones(3)
    assert fingerprint(tensor.as_subclass(Named)) == fingerprint(tensor)


def test_inference_tensors_count_by_their_values() -> None:
    with torch.inference_mode():
        assert fingerprint(torch.ones(3)) == fingerprint(torch.ones(3).t())
        inside = fingerprint(torch.ones(3))
    assert fingerprint(torch.ones(3)) == inside


@pytest.mark.parametrize("name", composite())
def test_tensors_of_several_components(name: str) -> None:
    one, again = composite()[name], composite()[name]
    assert fingerprint(one) == fingerprint(again)


def test_which_layout_a_sparse_tensor_has_counts() -> None:
    kinds = [name for name in composite() if name not in ("jagged", "mkldnn")]
    assert len({fingerprint(composite()[name]) for name in kinds}) == len(kinds)


def test_the_shape_of_a_sparse_tensor_counts() -> None:
    shorter, longer = torch.tensor([1.0, 0.0]).to_sparse(), torch.tensor([1.0, 0.0, 0.0]).to_sparse()
    assert shorter._indices().tolist() == longer._indices().tolist()
    assert fingerprint(shorter) != fingerprint(longer)


def test_the_two_layouts_of_nested_tensors_are_alike() -> None:
    found = composite()
    assert fingerprint(found["nested"]) == fingerprint(found["jagged"])
    assert fingerprint(found["nested"], layout=True) != fingerprint(found["jagged"], layout=True)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no mkldnn")
def test_an_mkldnn_tensor_is_the_dense_one() -> None:
    found = composite()
    dense = found["sparse_coo"].to_dense()
    assert fingerprint(found["mkldnn"]) == fingerprint(dense)
    assert fingerprint(found["mkldnn"], layout=True) != fingerprint(dense, layout=True)


def test_whether_a_sparse_tensor_is_coalesced_is_a_matter_of_layout() -> None:
    tensor = torch.sparse_coo_tensor(
        torch.tensor([[2, 0, 2]]), torch.tensor([1.0, 5.0, 2.0]), (4,), check_invariants=True
    )
    assert fingerprint(tensor) == fingerprint(tensor.coalesce())
    assert fingerprint(tensor, layout=True) != fingerprint(tensor.coalesce(), layout=True)
    assert not tensor.is_coalesced()


def test_what_a_wrapper_says_beside_its_tensors_counts() -> None:
    found = {fingerprint(Wrapper(torch.ones(2), scale=scale)) for scale in (1, 1.0, 2.0, "2", None)}
    found.add(fingerprint(Wrapper(torch.zeros(2), scale=1)))
    assert len(found) == 6
    with pytest.raises(TypeError, match=r'where: \["w"\]\.context\["scale"\]'):
        fingerprint({"w": Wrapper(torch.ones(2), scale=object())})


@pytest.mark.slow
def test_a_distributed_tensor_counts_as_the_whole_or_by_what_this_rank_holds() -> None:
    code = """
import torch, torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh
from deterministic.values.fingerprint import fingerprint
from deterministic.values.hashes import collect, hash_on_device, hash_on_host
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
full = torch.arange(4.0)
one, again, other = (distribute_tensor(full, mesh, [place]) for place in (Shard(0), Shard(0), Replicate()))
assert fingerprint(one) == fingerprint(again) == fingerprint(other) == fingerprint(full)
assert fingerprint(one, full=False) == fingerprint(again, full=False) != fingerprint(other, full=False)
assert fingerprint(one) != fingerprint(distribute_tensor(full + 1, mesh, [Shard(0)]))
assert hash_on_host(one) == hash_on_host(other) != hash_on_host(one + 1)
assert collect([hash_on_device(one)]) == collect([hash_on_device(again)])
dist.destroy_process_group()
print("done")
"""
    assert run_python(code).endswith("done")


LAYOUTS = {
    "strides": (torch.ones(2, 3), torch.ones(3, 2).t()),
    "an offset": (torch.ones(2), torch.ones(3)[1:]),
    "expanded": (torch.ones(3, 2), torch.ones(1, 2).expand(3, 2)),
    "channels last": (torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4).to(memory_format=torch.channels_last)),
    "conjugated": (torch.complex(torch.ones(2), -torch.ones(2)), torch.complex(torch.ones(2), torch.ones(2)).conj()),
    "an array's strides": (np.zeros((2, 3)), np.zeros((3, 2)).T),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layout_counts_where_it_was_asked_for(name: str) -> None:
    one, other = LAYOUTS[name]
    assert fingerprint(one) == fingerprint(other)
    for inside in (lambda value: value, lambda value: {"a": [value]}):
        assert fingerprint(inside(one), layout=True) != fingerprint(inside(other), layout=True)
        assert fingerprint(inside(one), layout=True) == fingerprint(inside(copy.deepcopy(one)), layout=True)
        assert fingerprint(inside(one), layout=True) != fingerprint(inside(one))


@given(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3), st.data())
def test_a_single_flipped_bit_changes_the_fingerprint(dtype: torch.dtype, shape: list[int], data: Any) -> None:
    tensor = random_bits(dtype, *shape)
    if not tensor.numel():
        return
    changed = random_bits(dtype, tensor.numel()).view(torch.uint8)
    bit = 0 if dtype is torch.bool else data.draw(st.integers(0, 7))
    changed[data.draw(st.integers(0, changed.numel() - 1))] ^= 1 << bit
    assert fingerprint(changed.view(dtype).reshape(tensor.shape)) != fingerprint(tensor)
