"""Which values have equal fingerprints: numbers, text, containers, arrays."""

from __future__ import annotations

import argparse
import copy
import functools
import random
import struct
import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from torch import nn

from deterministic.values.fingerprint import fingerprint

from .objects import (
    Color,
    Config,
    DataDict,
    DataFloat,
    DataList,
    DataModule,
    DataState,
    Number,
    Option,
    Options,
    Pixel,
    Point,
    Stateful,
    member,
)

NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000000))[0]
OTHER_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]

DIFFERENT: list[Any] = [
    *(None, ..., True, False, 0, 1, -1, 255, -256, 256, 2**64, -(2**64), 0.0, -0.0, 1.0, float("inf"), NAN, OTHER_NAN),
    *(0j, complex(0.0, -0.0), complex(-0.0, 0.0), 1 + 0j, "", "1", "a", "\ud800", b"", b"1", b"a", [], (), {}, set()),
    *([1], (1,), {1}, {1: 1}, [[1]], [1, 1], [[1], 1], [1, [1]], [[], 1], ([1],), deque([1]), [1, 2], [2, 1], [12]),
    *(["a", "b"], ["ab"], ["a,b"], ["ab", ""], ["", "ab"], {"a": "b"}, {"b": "a"}, {"a": {"b": 1}}, {("a", "b"): 1}),
    *({"a": 1, "b": 2}, {"a": 2, "b": 1}, [("a", 1)], {"a": 1}, {"a": 1.0}, {"a": True}, {1, 2}, {(1, 2)}, {1.0, 2}),
    *(range(3), range(0, 3, 2), slice(3), slice(0, 3, None), slice(None), torch.Size([1]), torch.Size([]), [0, 1, 2]),
    *(
        Point(1, 2),
        Pixel(1, 2),
        (1, 2),
        Point(2, 1),
        Options(1.0),
        Config(1.0),
        Config(1),
        Config(1.0, (1,)),
        Color.RED,
        Color.BLUE,
        Number.ONE,
    ),
    *(member("Color", "ROT", 1), member("Color", "RED", 2), member("Colour", "RED", 1)),
    *(Option.A, Option.A | Option.B, types.SimpleNamespace(a=1), argparse.Namespace(a=1), types.SimpleNamespace(a=2)),
    *(Path("a"), Path("a/b"), "a/b", torch.float32, "torch.float32", torch.float64, torch.device("cpu"), "cpu"),
    *(torch.device("cuda:0"), torch.device("cuda"), torch.strided, torch.channels_last, torch.per_tensor_affine),
    *(np.dtype("f4"), np.dtype("f8"), np.float32(1), np.float64(1), np.int64(1), np.bool_(True), np.str_("a")),
    *(np.array(1.0), np.array([1.0]), np.array([[1.0]]), np.array([]), np.zeros((0, 2)), np.zeros((2, 0))),
    *(np.array([1], "i8"), np.array([1], "u8"), np.array([1], "M8[s]"), np.array([1], "M8[D]"), np.array([1], "m8[s]")),
    *(np.array(["a"]), np.array([b"a"]), np.array(["a"], object), np.array([1], object), np.array([["a"]], object)),
    *(np.array([(1, 2)], "i4,i4"), np.array([(1, 2)], [("x", "i4"), ("y", "i4")]), np.array([(2, 1)], "i4,i4")),
    *(np.array([(1, 2)], "i4,i8"), np.array([([1, 2],)], [("x", "i4", 2)]), np.longdouble(1), np.array(b"a", "V1")),
    *(
        torch.tensor(1.0),
        torch.tensor([1.0]),
        functools.partial(max),
        functools.partial(min),
        functools.partial(max, 1),
    ),
    *(functools.partial(max, key=1), functools.partial(nn.Linear, 2), random.Random(1), random.Random(2)),
    *(np.random.default_rng(1), np.random.default_rng(2), np.random.PCG64(1), np.random.RandomState(1)),
    *(DataModule(1.0), DataModule(2.0), DataModule(1.0, 2), DataState(3.5), DataState(4.5)),
    *(DataDict(), DataDict(1), DataDict(2), DataDict(1, beside=1), DataDict(1, beside=2)),
    *(DataList(), DataList([1]), DataList([2]), DataList([1], beside=1), DataFloat(2.5), DataFloat(3.5)),
    *(DataFloat(2.5, "m"), functools.partial([1].count, 2), functools.partial([2, 2].count, 2)),
    *(functools.partial(torch.ones(1).add, 2), functools.partial(torch.zeros(1).add, 2)),
    *(functools.partial(random.Random(1).random), functools.partial(random.Random(2).random)),
    *(functools.partial(dict.fromkeys, "a"), functools.partial("a".join, "b"), functools.partial("c".join, "b")),
    *(np.random.Generator(np.random.Philox(1)), torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
]


def test_what_is_different_has_different_fingerprints() -> None:
    for inside in (lambda value: value, lambda value: [value], lambda value: {"key": value}):
        found: dict[str, Any] = {}
        for value in DIFFERENT:
            written = fingerprint(inside(value))
            assert written not in found, (value, found[written])
            assert len(bytes.fromhex(written)) == 16
            found[written] = value


EQUAL: list[tuple[Any, Any]] = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1, "b": 2}, OrderedDict(b=2, a=1)),
    ({"a": 1}, defaultdict(list, a=1)),
    ({"a": 1}, Counter("a")),
    ({"a": 1}, types.MappingProxyType({"a": 1})),
    ({1, "a", None}, frozenset([None, "a", 1])),
    (b"a", bytearray(b"a")),
    (Path("a/b"), PurePosixPath("a/b")),
    (PurePosixPath("a/b"), PureWindowsPath("a\\b")),
    (np.array([1, 2], "<i4"), np.array([1, 2], ">i4")),
    (np.array([1.5], "<c8"), np.array([1.5], ">c8")),
    (np.array(["ä"], "<U3"), np.array(["ä"], ">U3")),
    (np.array([3], "<M8[s]"), np.array([3], ">M8[s]")),
    (np.array([(1, 2)], "<i4,<f8"), np.array([(1, 2)], ">i4,>f8")),
    (np.array([(1, 2)], np.dtype("i1,i8")), np.array([(1, 2)], np.dtype("i1,i8", align=True))),
    (np.dtype(">f4"), np.dtype("<f4")),
    (np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).copy("F")),
    (np.arange(6)[::-1], np.arange(6)[::-1].copy()),
    (np.arange(4).reshape(2, 2), np.arange(4).reshape(2, 2).view(np.matrix)),
    (torch.Size([1, 2]), torch.ones(1, 2).shape),
    (Stateful({"a": 1}), {"a": 1}),
    (DataState(1, rate=1.0), DataState(1, rate=2.0)),
    (DataModule(1.0), {"layer": torch.ones(1)}),
    (DataDict(1), DataDict(1)),
    (functools.partial([1].count, 2), functools.partial([1].count, 2)),
    (Config(1.0), replace(Config(2.0), rate=1.0)),
    (functools.partial(max, 1, key=None), functools.partial(max, 1, key=None)),
]


@pytest.mark.parametrize("pair", EQUAL, ids=lambda pair: type(pair[1]).__name__)
def test_what_counts_as_equal_has_equal_fingerprints(pair: tuple[Any, Any]) -> None:
    assert fingerprint(pair[0]) == fingerprint(pair[1])


def test_the_padding_of_long_doubles_does_not_count() -> None:
    # On x86 they are 10 bytes in 16, and the rest is whatever was there.
    one = np.full(4, 255, np.uint8).repeat(np.dtype(np.longdouble).itemsize).view(np.longdouble)
    other = np.zeros(4, np.longdouble)
    one[:] = other[:] = 1.5
    assert fingerprint(one) == fingerprint(other) != fingerprint(other * 2)
    assert fingerprint(one * 1j) == fingerprint(other * 1j) != fingerprint(other)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1 has no strings of variable length")
def test_strings_of_variable_length_count_by_their_text() -> None:
    kind = np.dtypes.StringDType()
    one, other = np.array(["a", "bc"], kind), np.array(["ab", "c"], kind)
    assert fingerprint(one) == fingerprint(one.copy()) != fingerprint(other)
    assert fingerprint(one) != fingerprint(one.astype(object))


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st_numpy.arrays(st_numpy.scalar_dtypes(), st_numpy.array_shapes(max_dims=2, max_side=3, min_side=0)),
)
keys = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3))
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Whether two values of the above are equal in their types, shapes and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        typed = [{(type(key), key): value for key, value in held.items()} for held in (one, other)]
        return typed[0].keys() == typed[1].keys() and all(same(typed[0][key], typed[1][key]) for key in typed[0])
    if isinstance(one, np.ndarray):
        one, other = (array.astype(array.dtype.newbyteorder("<")) for array in (one, other))
        return (one.dtype.str, one.shape, one.tobytes()) == (other.dtype.str, other.shape, other.tobytes())
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    return bool(one == other)


@given(nested, nested)
def test_fingerprints_are_equal_where_values_are(one: Any, other: Any) -> None:
    assert (fingerprint(one) == fingerprint(other)) == same(one, other)
    assert fingerprint(one) == fingerprint(copy.deepcopy(one))
    assert fingerprint([one]) != fingerprint(one)
