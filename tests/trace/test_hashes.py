"""The hashes of tensors in traces."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deterministic.values import hashes
from deterministic.values.bits import memory
from deterministic.values.hashes import collect, hash_on_device, hash_on_host, number_of
from deterministic.values.numbers import hash_of_text, number_bits

from ..processes import run_python
from .changes import SAME_BITS, changes
from .tensors import DTYPES, Opaque, bytes_of, composite, nothing_seen, random_bits, views

MASK = 2**64 - 1


def splitmix(number: int) -> int:
    """The finaliser of splitmix64, in plain integers."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & MASK
    return number ^ number >> 31


def weight(place: int) -> int:
    return splitmix((place + 1) * 0x9E3779B97F4A7C15 & MASK) | 1


WEIGHTS = [weight(place) for place in range(1 << 16)]


def reference(data: bytes, block: int = 1 << 16) -> int:
    """`hash_on_device`, in plain integers."""
    length = len(data)

    def sums(data: bytes) -> list[int]:
        data += bytes(-len(data) % 4)
        words = [int.from_bytes(data[place : place + 4], "little", signed=True) for place in range(0, len(data), 4)]
        starts = range(0, max(1, len(words)), block)
        return [
            sum(word * one for word, one in zip(words[at : at + block], WEIGHTS, strict=False)) & MASK for at in starts
        ]

    while len(found := sums(data)) > 1:
        data = b"".join(splitmix(one).to_bytes(8, "little") for one in found)
    return found[0] + length * 0xD6E8FEB86659FD93 & MASK


def on_device(tensor: Tensor) -> int:
    found = hash_on_device(tensor)
    assert found.shape == ()
    assert found.dtype is torch.int64
    assert found.device == tensor.device
    (number,) = collect([found])
    assert 0 <= number <= MASK
    return number


def test_the_hashes_never_change_between_versions() -> None:
    # Traces are compared with those of other versions: a change of the hash needs another name.
    tensor = torch.arange(100_000, dtype=torch.float32)
    assert (hashes.HOST, hashes.DEVICE) == ("xxh3-64/1", "mlin-64/1")
    assert hash_on_host(tensor) == 13086975267339838539
    assert on_device(tensor) == 4732519531793874140
    assert on_device(tensor[:10]) == 2027293763449102072
    assert hash_on_host(torch.zeros(0)) == hash_of_text("") == 0x2D06800538D394C2
    assert on_device(torch.zeros(0)) == 0
    assert hash_of_text("é\ud800") == 14684256343744090444


def test_the_numbers_of_splitmix_are_the_published_ones() -> None:
    # https://prng.di.unimi.it/splitmix64.c from the seed 1234567
    state = [1234567 + (place + 1) * 0x9E3779B97F4A7C15 & MASK for place in range(2)]
    assert [splitmix(one) for one in state] == [6457827717110365317, 3203168211198807973]
    weights = hashes._weights_on(torch.device("cpu"))
    assert [one & MASK for one in weights[:100].tolist()] == WEIGHTS[:100]
    assert len(set(weights.tolist())) == hashes.BLOCK


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_hashes_of_every_dtype(dtype: torch.dtype) -> None:
    for count in (0, 1, 3, 7, 1001):
        tensor = random_bits(dtype, count)
        for one in (tensor, tensor[1:], tensor[::2], tensor[:1].reshape(-1)):
            assert hash_on_host(one) == xxhash.xxh3_64_intdigest(bytes_of(one))
            assert on_device(one) == reference(bytes_of(one))


@pytest.mark.parametrize("name", views())
def test_a_view_has_the_hashes_of_its_values(name: str) -> None:
    view, values = views()[name]
    assert hash_on_host(view) == hash_on_host(values)
    assert on_device(view) == on_device(values)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("words", [65535, 65536, 65537, 3 * 65536, 3 * 65536 + 5])
def test_the_hash_of_several_blocks(dtype: torch.dtype, words: int) -> None:
    tensor = random_bits(dtype, words * 4 // dtype.itemsize)
    found = on_device(tensor)
    assert found == reference(bytes(memory(tensor)))
    assert on_device(tensor[1:]) != found


@given(st.integers(0, 300), st.integers(0, 3), st.sampled_from([torch.int8, torch.half, torch.float, torch.double]))
def test_the_hash_of_blocks_within_blocks(count: int, offset: int, dtype: torch.dtype) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes, "BLOCK", 4)
        patch.setattr(hashes, "CHUNK", 12)
        patch.setattr(hashes, "_weights", {})
        tensor = random_bits(dtype, count + offset)[offset:]
        assert on_device(tensor) == reference(bytes_of(tensor), block=4)


def test_a_big_tensor_is_multiplied_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = random_bits(torch.float32, hashes.CHUNK + hashes.BLOCK + 3)
    expected = on_device(tensor)
    assert expected == reference(bytes(memory(tensor)))
    sizes = []
    multiply = torch.mul

    def watched(one: Tensor, other: Tensor, *, out: Tensor) -> Tensor:
        sizes.append(out.numel())
        return multiply(one, other, out=out)

    monkeypatch.setattr(torch, "mul", watched)
    assert on_device(tensor) == expected
    assert sizes == [hashes.CHUNK, hashes.BLOCK]


@pytest.mark.parametrize("name", changes())
def test_a_change_is_seen(name: str) -> None:
    one, other = changes()[name]
    assert hash_on_host(one) == hash_on_host(one.clone())
    assert on_device(one) == on_device(one.clone())
    assert hash_on_host(one) != hash_on_host(other)
    assert on_device(one) != on_device(other)


@pytest.mark.parametrize("name", SAME_BITS)
def test_dtype_and_shape_are_left_to_the_caller(name: str) -> None:
    one, other = SAME_BITS[name]
    assert hash_on_host(one) == hash_on_host(other)
    assert on_device(one) == on_device(other)


def test_no_two_of_many_small_changes_look_alike() -> None:
    base = random_bits(torch.int32, 64)
    variants = [base]
    for place in range(64):
        for bit in range(31):
            changed = base.clone()
            changed[place] ^= 1 << bit
            changed[place - 7] ^= 1 << (bit + 7) % 31
            variants.append(changed)
    assert len({on_device(one) for one in variants}) == len({hash_on_host(one) for one in variants}) == len(variants)


@pytest.mark.parametrize("name", composite())
def test_a_tensor_of_several_components_has_hashes_too(name: str) -> None:
    one, again = composite()[name], composite()[name]
    assert hash_on_host(one) == hash_on_host(again)
    assert on_device(one) == on_device(again)


def test_each_component_counts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = torch.tensor([1.0, 2.0, 3.0])
        changed = {
            "as it is": torch.quantize_per_tensor(values, 0.5, 1, torch.qint8),
            "values": torch.quantize_per_tensor(values.flip(0), 0.5, 1, torch.qint8),
            "scale": torch.quantize_per_tensor(values / 2, 0.25, 1, torch.qint8),
            "zero point": torch.quantize_per_tensor(values - 0.5, 0.5, 2, torch.qint8),
            "indices": values.to_sparse(),
            "other indices": torch.tensor([1.0, 0.0, 2.0, 3.0]).to_sparse(),
            "nested": torch.nested.nested_tensor([values[:2], values[2:]]),
            "nested otherwise": torch.nested.nested_tensor([values[:1], values[1:]]),
            "nested in another order": torch.nested.nested_tensor([values[2:], values[:2]]),
        }
    assert len({hash_on_host(one) for one in changed.values()}) == len(changed)
    assert len({on_device(one) for one in changed.values()}) == len(changed)


def test_what_has_no_values_has_no_hash() -> None:
    for tensor in (torch.ones(2, device="meta"), Opaque()):
        for function in (hash_on_host, hash_on_device):
            with pytest.raises(TypeError, match="values"):
                function(tensor)


def test_no_mode_sees_an_operation_and_weights_are_made_outside_of_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.arange(6.0).view(2, 3), torch.arange(6.0).view(2, 3).t(), random_bits(torch.int8, 300_001)]
    expected = [hash_on_host(one) for one in tensors] + [on_device(one) for one in tensors]
    monkeypatch.setattr(hashes, "_weights", {})
    with nothing_seen(), torch.inference_mode():
        found = [hash_on_host(one) for one in tensors] + collect([hash_on_device(one) for one in tensors])
    assert found == expected
    assert [on_device(one) for one in tensors] == expected[3:]


def test_threads_may_hash_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_weights", {})
    tensor, start = random_bits(torch.float32, 70_000), threading.Barrier(4)

    def hashed() -> tuple[int, int]:
        start.wait()
        return hash_on_host(tensor), on_device(tensor)

    with ThreadPoolExecutor(4) as pool:
        found = {one.result() for one in [pool.submit(hashed) for _ in range(4)]}
    assert found == {(hash_on_host(tensor), reference(bytes(memory(tensor))))}


def test_collecting_keeps_the_order() -> None:
    tensors = [random_bits(torch.float32, 4, seed=seed) for seed in range(4)]
    mixed: list[int | Tensor] = [
        7,
        hash_on_device(tensors[0]),
        hash_on_host(tensors[1]),
        hash_on_device(tensors[2]),
        MASK,
    ]
    found = [7, reference(bytes_of(tensors[0])), hash_on_host(tensors[1]), reference(bytes_of(tensors[2])), MASK]
    assert collect(mixed) == found
    assert collect([]) == []
    assert max(collect([hash_on_device(one) for one in tensors])) > 2**63


def test_the_hash_of_a_text_is_that_of_its_bytes() -> None:
    assert hash_of_text("step 7") == xxhash.xxh3_64_intdigest(b"step 7")


FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def numbers(device: str) -> list[Tensor]:
    """Tensors of one element."""
    values = [torch.tensor(value, dtype=dtype) for dtype in FLOATS for value in (0.1, -0.0, float("inf"))]
    return [value.to(device) for value in [*values, torch.ones(1, 1, requires_grad=True)]]


def test_a_tensor_of_one_element_is_told_by_its_bits_as_a_float() -> None:
    for tensor in numbers("cpu"):
        with nothing_seen():
            found = number_of(tensor)
        assert found == number_bits(float(tensor.item()))
    with torch.inference_mode():
        assert number_of(torch.tensor(0.5)) == number_bits(0.5)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2), torch.ones(0), torch.tensor(1), torch.tensor(1j), torch.ones((), device="meta")],
    ids=["two", "none", "whole", "complex", "meta"],
)
def test_what_is_no_single_float_is_told_by_none(tensor: Tensor) -> None:
    assert number_of(tensor) is None


@pytest.mark.gpu
def test_no_device_is_waited_for_to_tell_a_number() -> None:
    tensors = numbers("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [number_of(tensor) for tensor in tensors]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert collect([one for one in found if one is not None]) == [number_of(tensor) for tensor in numbers("cpu")]


@pytest.mark.slow
@pytest.mark.usefixtures("warm_pythons")
def test_other_processes_find_the_same_hashes() -> None:
    code = (
        "import torch; from deterministic.values.hashes import *; from deterministic.values.numbers import *;"
        "t = torch.arange(70_000.0);"
        "print(hash_on_host(t), collect([hash_on_device(t)])[0], hash_of_text('a'))"
    )
    tensor = torch.arange(70_000.0)
    expected = f"{hash_on_host(tensor)} {on_device(tensor)} {hash_of_text('a')}"
    assert run_python(code, PYTHONHASHSEED="0") == run_python(code, PYTHONHASHSEED="1") == expected


@pytest.mark.gpu
def test_a_device_finds_the_hashes_of_the_host() -> None:
    for dtype in DTYPES:
        for count in (0, 3, 1001, 300_001):
            tensor = random_bits(dtype, count)
            assert on_device(tensor) == on_device(tensor.cuda()), dtype
            assert hash_on_host(tensor) == hash_on_host(tensor.cuda()), dtype


@pytest.mark.gpu
def test_nobody_waits_for_a_device() -> None:
    tensors = [random_bits(torch.float32, count, 3).cuda() for count in (0, 5, 700_000)]
    tensors += [tensors[1].t(), tensors[1].to(torch.bfloat16).flatten()[1:], torch.ones(4, device="cuda").to_sparse()]
    expected = [on_device(one) for one in tensors]
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [hash_on_device(one) for one in tensors]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert collect([1, *found, 2]) == [1, *expected, 2]


@pytest.mark.gpu
def test_a_graph_that_was_captured_hashes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_weights", {})
    tensor = torch.zeros(100_000, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = hash_on_device(tensor)
    assert not hashes._weights
    for value in (0.0, 1.0):
        tensor.fill_(value)
        graph.replay()
        assert collect([found]) == [on_device(torch.full((100_000,), value))]
