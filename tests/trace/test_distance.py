"""How far apart two tensors are, against a slow reference that walks from one number to the next."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic.values.distance import distance, elements_of, ulps_apart
from tests.trace.traces import SETTINGS

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float64", "float32", "float16", "bfloat16"]
FLOATS8 = [name for name in ("e5m2", "e4m3fn", "e5m2fnuz", "e4m3fnuz", "e8m0fnu") if hasattr(torch, f"float8_{name}")]
WIDTHS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def ulp(text: str) -> int:
    """The number of ULPs that a text says."""
    match = re.search(r"by up to ([\d,]+) ULP", text)
    assert match is not None, text
    return int(match[1].replace(",", ""))


@pytest.fixture
def every_ulp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also say as ULPs how far apart values are that are far from each other."""
    monkeypatch.setattr("deterministic.values.distance._MOST_ULPS", 2**64)


def from_bits(name: str, *bits: int) -> torch.Tensor:
    width = WIDTHS.get(name, 1)
    unsigned = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}[width]
    return torch.tensor(np.array(bits, f"u{width}")).view(unsigned).view(getattr(torch, name))


def place(name: str, bits: int) -> int:
    """The number of a float among all of its dtype, from the lowest, counted with Python's integers."""
    width = 8 * WIDTHS.get(name, 1)
    if name == "float8_e8m0fnu":
        return bits
    magnitude = bits & ((1 << (width - 1)) - 1)
    negative_zero = not name.endswith("fnuz")
    return -magnitude - negative_zero if bits >> (width - 1) else magnitude


def places_apart(one: torch.Tensor, other: torch.Tensor) -> Any:
    elements = elements_of(one), elements_of(other)
    assert elements[0] is not None
    assert elements[1] is not None
    return ulps_apart(elements[0], elements[1]).ravel().tolist()


@pytest.mark.usefixtures("every_ulp")
@SETTINGS
@given(st.sampled_from(FLOATS), st.data())
def test_ulps_are_the_floats_between_two(name: str, data: st.DataObject) -> None:
    bits = st.integers(0, 2 ** (8 * WIDTHS[name]) - 1)
    pairs = data.draw(st.lists(st.tuples(bits, bits), min_size=1, max_size=4))
    one, other = (from_bits(name, *side) for side in zip(*pairs, strict=True))
    differ = [pair for pair in pairs if pair[0] != pair[1]]
    known = [pair for pair in differ if all(math.isfinite(from_bits(name, x).to(torch.float64).item()) for x in pair)]
    text = distance(one, other)
    if not differ:
        assert text == ""
        return
    assert text.startswith(f"{len(differ)} of {len(pairs)} element")
    assert ("NaN or infinite" in text) == (len(known) < len(differ))
    assert ("ULP" in text) == bool(known)
    if known:
        assert ulp(text) == max(abs(place(name, x) - place(name, y)) for x, y in known)


@SETTINGS
@given(st.sampled_from(["float64", "float32", "float16"]), st.data(), st.integers(1, 20))
def test_a_few_steps_of_nextafter_are_a_few_ulps(name: str, data: st.DataObject, steps: int) -> None:
    kind = np.dtype(name)
    start = kind.type(data.draw(st.floats(-1e4, 1e4, width=16)))
    end = start
    for _ in range(steps):
        end = np.nextafter(end, kind.type(math.inf))
    crossed = start <= 0 < end and math.copysign(1, start) < 0  # -0.0 and 0.0 are two places, and one for nextafter
    text = distance(torch.tensor([start]), torch.tensor([end]))
    assert ulp(text) == steps + crossed
    relative = re.search(r"\((\S+) relative\)", text)
    size = max(abs(float(start)), abs(float(end)))
    assert relative is not None
    assert float(relative[1]) == pytest.approx((float(end) - float(start)) / size, rel=0.1)


@SETTINGS
@given(st.sampled_from(FLOATS), st.data())
def test_each_pair_of_elements_is_as_far_apart_as_their_places(name: str, data: st.DataObject) -> None:
    bits = st.integers(0, 2 ** (8 * WIDTHS[name]) - 1)
    pairs = data.draw(st.lists(st.tuples(bits, bits), min_size=1, max_size=4))
    one, other = (from_bits(name, *side) for side in zip(*pairs, strict=True))
    assert places_apart(one, other) == [abs(place(name, x) - place(name, y)) for x, y in pairs]


def test_each_dtype_is_counted_in_its_own_places_and_infinity_follows_the_largest() -> None:
    for name, half in (("bfloat16", 64), ("float16", 512), ("float32", 2**22), ("float64", 2**51)):
        dtype = getattr(torch, name)
        one = torch.tensor([1.0, -math.inf, torch.finfo(dtype).max], dtype=dtype)
        other = torch.tensor([1.5, torch.finfo(dtype).min, math.inf], dtype=dtype)
        assert places_apart(one, other) == [half, 1, 1]


@pytest.mark.parametrize("name", FLOATS8)
def test_every_pair_of_eight_bit_floats(name: str) -> None:
    name = f"float8_{name}"
    wide = from_bits(name, *range(256)).to(torch.float64)
    finite = [bits for bits in range(256) if math.isfinite(wide[bits])]
    ordered = sorted(finite, key=lambda bits: (wide[bits].item(), place(name, bits)))
    # They stand in their order and without a gap.
    assert [place(name, bits) - place(name, ordered[0]) for bits in ordered] == list(range(len(ordered)))
    for x, y in zip(ordered[::7], ordered[3::7], strict=False):
        assert ulp(distance(from_bits(name, x), from_bits(name, y))) == 3
    assert ulp(distance(from_bits(name, ordered[0]), from_bits(name, ordered[-1]))) == len(ordered) - 1
    unknown = next(bits for bits in range(256) if bits not in finite)
    assert "NaN or infinite" in distance(from_bits(name, unknown), from_bits(name, finite[0]))


@SETTINGS
@given(st.sampled_from(INTEGERS), st.data())
def test_integers_are_as_far_apart_as_they_are(name: str, data: st.DataObject) -> None:
    info = np.iinfo(name)
    whole = st.integers(int(info.min), int(info.max)) | st.sampled_from([int(info.min), int(info.max)])
    pairs = data.draw(st.lists(st.tuples(whole, whole), min_size=1, max_size=4))
    one, other = (torch.tensor(np.array(side, name)) for side in zip(*pairs, strict=True))
    differ = [abs(x - y) for x, y in pairs if x != y]
    total = f"{len(pairs)} element{'s' * (len(pairs) > 1)}"
    assert distance(one, other) == (f"{len(differ)} of {total}, by up to {max(differ):,}" if differ else "")


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (0.0, -0.0, "1 of 1 element, by up to 1 ULP (0.0e+00 relative)"),
        (5e-324, 0.0, "1 of 1 element, by up to 1 ULP (1.0e+00 relative)"),
        (5e-324, -5e-324, "1 of 1 element, by up to 3 ULP (2.0e+00 relative)"),
        (1.7e308, -1.7e308, "1 of 1 element, by up to 2.0e+00 relative"),
        (math.inf, 1.0, "1 of 1 element, NaN or infinite in one of the two"),
        (math.nan, math.inf, "1 of 1 element, NaN or infinite in one of the two"),
        (math.inf, math.inf, ""),
        (math.nan, math.nan, ""),
    ],
)
def test_the_ends_of_the_range(one: float, other: float, text: str) -> None:
    found = distance(torch.tensor([one], dtype=torch.float64), torch.tensor([other], dtype=torch.float64))
    assert found.startswith(text)
    assert bool(found) == bool(text)
    assert "inf relative" not in found
    assert "nan" not in found


@pytest.mark.usefixtures("every_ulp")
def test_the_distance_of_the_lowest_and_the_highest_float_is_exact() -> None:
    lowest, highest = (struct.unpack("<q", struct.pack("<d", x))[0] for x in (1.7976931348623157e308,) * 2)
    found = distance(
        torch.tensor([-1.7976931348623157e308], dtype=torch.float64),
        torch.tensor([1.7976931348623157e308], dtype=torch.float64),
    )
    assert ulp(found) == lowest + highest + 1
    assert found.endswith("(2.0e+00 relative)")


def test_what_is_no_rounding_is_told_relative_to_its_size_alone() -> None:
    near, far = (torch.tensor([0x3F800000 + ulps], dtype=torch.int32).view(torch.float32) for ulps in (10_000, 10_001))
    one = torch.tensor([1.0])
    assert distance(one, near) == "1 of 1 element, by up to 10,000 ULP (1.2e-03 relative)"
    assert distance(one, far) == "1 of 1 element, by up to 1.2e-03 relative"


def test_a_nan_beside_others_does_not_hide_them() -> None:
    one, other = torch.tensor([1.0, math.nan, 3.0, 4.0]), torch.tensor([1.0, 2.0, 3.0000002, 4.0])
    assert distance(one, other) == "2 of 4 elements, 1 of them NaN or infinite, by up to 1 ULP (7.9e-08 relative)"


def test_another_payload_of_a_nan_is_a_difference() -> None:
    assert distance(from_bits("float32", 0x7FC00000), from_bits("float32", 0x7FC00001)).startswith("1 of 1 element")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_numbers_are_counted_once_and_measured_by_part(dtype: torch.dtype) -> None:
    one = torch.tensor([1 + 1j, 2 + 2j], dtype=dtype)
    other = one.clone()
    torch.view_as_real(other)[1] = torch.nextafter(torch.view_as_real(one)[1], torch.tensor(9.0, dtype=one.real.dtype))
    assert distance(one, other).startswith("1 of 2 elements, by up to 1 ULP")
    assert distance(one.conj(), other.conj()) == distance(one, other)
    assert distance(one.conj(), one).startswith("2 of 2 elements")
    assert distance(one.conj().imag, one.imag.neg()) == ""  # a view with the negative bit
    assert distance(one.conj(), one.conj().resolve_conj()) == ""


def test_only_logical_values_count() -> None:
    one = torch.arange(12.0).reshape(3, 4)
    assert distance(one.t(), one.t().contiguous()) == ""
    assert distance(one[:, ::2], one[:, ::2].clone()) == ""
    assert distance(torch.ones(()).expand(3), torch.ones(3)) == ""
    assert distance(torch._neg_view(torch.ones(3)), -torch.ones(3)) == ""
    leaf = torch.nn.Parameter(torch.ones(2))
    assert distance(leaf, torch.tensor([1.0, 2.0])).startswith("1 of 2 elements")
    assert distance(torch.ones(2, 2), torch.tensor([[1.0, 2.0], [3.0, 1.0]])).startswith("2 of 4 elements")


def test_booleans_are_counted() -> None:
    assert distance(torch.tensor([True, False, True]), torch.tensor([False, False, False])) == "2 of 3 elements"


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.complex64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
def test_empty_tensors_are_the_same(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    assert distance(torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)) == ""


def strange(name: str) -> Any:
    dense = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    return {
        "coo": lambda: dense.to_sparse(),
        "csr": lambda: dense.to_sparse_csr(),
        "quantized": lambda: torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
        "meta": lambda: dense.to("meta"),
        "packed": lambda: torch.zeros(2, dtype=torch.uint8).view(torch.bits8),
    }[name]()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["coo", "csr", "quantized", "nested", "meta", "packed"])
def test_nothing_is_said_of_what_is_not_compared(name: str) -> None:
    assert distance(strange(name), strange(name)) == ""
    if name in ("coo", "csr", "quantized", "meta"):
        assert distance(strange(name), torch.ones(2, 2)) == ""
        assert distance(torch.ones(2, 2), strange(name)) == ""


def test_other_shapes_and_dtypes_are_not_compared() -> None:
    assert distance(torch.ones(2), torch.ones(3)) == ""
    assert distance(torch.ones(2), torch.ones(2, 1)) == ""
    assert distance(torch.ones(2), torch.ones(2, dtype=torch.float64)) == ""
