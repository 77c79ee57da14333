"""Values of every kind come back with their types and bits; what is none of them is refused, and nothing is written."""

from __future__ import annotations

import collections
import functools
import math
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic import save_checkpoint
from deterministic.checkpoint.container import read, write
from deterministic.errors import CheckpointError

from .written import assert_same, there_and_back

NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0123))[0]
TWO_HALVES = "\ud83d" + "\ude00"

VALUES: dict[str, Any] = {
    "none": None,
    "booleans": [True, False],
    "integers": [0, -1, 2**63, -(2**64), 2**64 - 1, 10**5000, -(10**5000)],
    "floats": [0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, NAN_WITH_PAYLOAD],
    "complex": [1 + 2j, complex(-0.0, math.inf), complex(NAN_WITH_PAYLOAD, -0.0)],
    "texts": ["", "é\0\n", "😀", "\udc80", "\ude00\ud83d", "$tuple"],
    "bytes": [b"", bytes(range(256))],
    "tuples": [(), (1, (2, [3])), ((),)],
    "keys": {1: "a", "1": "b", 2.5: "c", None: "d", (1, "x"): "e", b"y": "f", False: "g", 10**40: "h"},
    "dollars": [{"$tuple": [1]}, {"$": 1}, {"$nothing": {"$tensor": 0}}, {"a": 1, "$b": 2}],
    "empty": [[], {}, set(), frozenset(), deque(), Counter(), OrderedDict(), defaultdict(int)],
    "order": {"b": 1, "a": 2, "c": 3},
    "ordered": OrderedDict([("b", 1), ("a", OrderedDict({2: 3}))]),
    "counter": Counter({"a": 3, 5: -1}),
    "deques": [deque([1, (2,)]), deque([1, 2], maxlen=2), deque(maxlen=0)],
    "sets": [{1, "a", (2, 3)}, frozenset([frozenset([1]), None])],
    "ranges": [range(3), range(10, -5, -3), range(10**30), range(10**5000, 10**5000 + 3)],
    "slices": [slice(None), slice(1, None, -1), slice("a", (1,), 2.5)],
    "sizes": [torch.Size([]), torch.Size([2, 0, 2**40])],
    "dtypes": [torch.float32, torch.bfloat16, torch.complex64, torch.float8_e4m3fn],
    "devices": [torch.device("cpu"), torch.device("cuda", 1), torch.device("cuda"), torch.device("meta")],
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_value_comes_back(value: Any, tmp_path: Path) -> None:
    assert_same(value, there_and_back(tmp_path / "a", value))


@pytest.mark.parametrize("factory", [None, bool, dict, float, int, list, set, str, tuple])
def test_a_defaultdict_comes_back_with_its_factory(factory: Any, tmp_path: Path) -> None:
    value = defaultdict(factory, {"a": 1, 2: "b"})
    found = there_and_back(tmp_path / "a", value)
    assert_same(value, found)
    assert found.default_factory is factory


def test_a_state_that_lies_in_another_value_comes_back_with_what_it_says_of_itself(tmp_path: Path) -> None:
    state = torch.nn.BatchNorm1d(2).state_dict()
    (found,) = there_and_back(tmp_path / "a", [state])
    assert_same(state, found)
    assert vars(state) == vars(found) == {"_metadata": OrderedDict({"": {"version": 2}})}


def test_an_ordered_dict_with_other_attributes_is_refused(tmp_path: Path) -> None:
    value: Any = OrderedDict(a=1)
    value.note = "lost"
    with pytest.raises(CheckpointError, match="with attributes: note"):
        there_and_back(tmp_path / "a", value)


def test_a_deque_comes_back_with_its_length(tmp_path: Path) -> None:
    found = there_and_back(tmp_path / "a", [deque([1], maxlen=3), deque([1])])
    assert [one.maxlen for one in found] == [3, None]


ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.arange(6, dtype=">i4"),
    np.array(3.5),
    np.empty((0, 3), np.int16),
    np.array([True, False]),
    np.array([1 + 2j, -0.0]),
    np.array([math.nan, -0.0, math.inf], np.float16),
    np.arange(12).reshape(3, 4).T[::2],
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array(["2020-01-01", "NaT"], "datetime64[s]"),
    np.array(["a", "bc"]),
    np.array([np.longdouble(1) / 3]),
    np.broadcast_to(np.arange(3), (4, 3)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{list(array.shape)}")
def test_an_array_comes_back(array: np.ndarray, tmp_path: Path) -> None:
    found = there_and_back(tmp_path / "a", [array, array])
    assert_same([array, array], found)
    assert found[0].flags.writeable
    before = found[1].tobytes()
    found[0][...] = np.zeros((), array.dtype)
    assert found[1].tobytes() == before


SCALARS = [np.float32(0.1), np.float64(-0.0), np.int8(-1), np.uint64(2**64 - 1), np.bool_(True), np.complex64(1 - 2j)]
SCALARS += [np.float16(math.nan), np.longdouble(1) / 3, np.datetime64("2020-01-01"), np.timedelta64(5, "h")]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: scalar.dtype.str)
def test_a_scalar_comes_back(scalar: Any, tmp_path: Path) -> None:
    assert_same(scalar, there_and_back(tmp_path / "a", scalar))


class Point(NamedTuple):
    x: int


class MyDict(dict):  # type: ignore[type-arg]
    pass


class MyInt(int):
    pass


class Strange:
    def __repr__(self) -> str:
        return "strange"


def loop() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = defaultdict(int, {1: value})
    return value


REFUSED: list[tuple[Any, str, str]] = [
    (Strange(), "", "tests.checkpoint.test_values.Strange"),
    ([0, {"a": Strange()}], "[1].a", "tests.checkpoint.test_values.Strange"),
    ({"a": {5: (1, Strange())}}, ".a[5][1]", "tests.checkpoint.test_values.Strange"),
    ({Strange(): 1}, "'s key", "tests.checkpoint.test_values.Strange"),
    ({"f": lambda epoch: 0.9**epoch}, ".f", "function"),
    (len, "", "builtin_function_or_method"),
    (functools.partial(int, 5), "", "functools.partial"),
    (int, "", "type"),
    (Point(1), "", "tests.checkpoint.test_values.Point"),
    (MyDict(a=1), "", "tests.checkpoint.test_values.MyDict"),
    (MyInt(1), "", "tests.checkpoint.test_values.MyInt"),
    (Fraction(1, 2), "", "fractions.Fraction"),
    (Path("a"), "", "pathlib."),
    (bytearray(b"a"), "", "bytearray"),
    (collections.ChainMap(), "", "collections.ChainMap"),
    (defaultdict(Strange), ".default_factory", "type"),
    (defaultdict(lambda: 0), ".default_factory", "function"),
    (np.array([1, "a", None], dtype=object), "", "an array of dtype object"),
    (np.zeros(2, [("a", np.int32)]), "", "an array of dtype [('a', '<i4')]"),
    (np.zeros(1, [("a", np.int32)])[0], "", "numpy.void"),
    (np.ma.masked_array([1], [True]), "", "MaskedArray"),
    (np.str_("a\0"), "", "numpy.str_"),
    (np.bytes_(b""), "", "numpy.bytes_"),
    (loop(), "[0].again[0].again", "one that contains itself"),
    (nested(101), "[1][1]", "nested deeper than 100"),
    (TWO_HALVES, "", "surrogates that are a pair"),
    ({TWO_HALVES: 1}, "'s key", "surrogates that are a pair"),
    (Ellipsis, "", "ellipsis"),
    (torch.Generator(), "", "torch._C.Generator"),
    (torch.nn.Linear(1, 1).weight.untyped_storage(), "", "torch.storage.UntypedStorage"),
]


@pytest.mark.parametrize(("value", "path", "found"), REFUSED, ids=[found for *_, found in REFUSED])
def test_what_cannot_be_stored_is_named_and_nothing_is_written(
    value: Any, path: str, found: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"as it was")
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path / "a", before=torch.zeros(3), value=value)
    first, second = str(caught.value).splitlines()[:2]
    assert first.startswith(f"objects.value.value{path}")
    assert "nothing was written" in first
    assert found in second
    assert (tmp_path / "a").read_bytes() == b"as it was"
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]


def test_the_deepest_containers_that_are_written_are_read(tmp_path: Path) -> None:
    value = nested(97)  # a checkpoint has three around each value
    assert repr(there_and_back(tmp_path / "a", value)) == repr(value)


def test_the_state_of_a_lambda_in_a_scheduler_is_named(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

    class Schedule:
        def state_dict(self) -> dict[str, Any]:
            return {"last_epoch": 1, "lr_lambdas": [lambda epoch: 0.5]}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise AssertionError

    with pytest.raises(CheckpointError, match=r"objects\.scheduler\.state\.lr_lambdas\[0\] cannot be stored"):
        save_checkpoint(tmp_path / "a", optimizer=optimizer, scheduler=Schedule())
    assert not [*tmp_path.iterdir()]


def test_sets_are_written_in_an_order_of_their_own(tmp_path: Path) -> None:
    one, other = set([0, 8]), set([8, 0])  # noqa: C405 - where they collide, the first comes first
    assert list(one) != list(other)
    for name, value in (("a", one), ("b", other)):
        write(tmp_path / name, {}, {"x": value})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


NUMBERS = st.integers() | st.floats() | st.complex_numbers() | st.booleans()
LEAVES: st.SearchStrategy[Any] = (
    st.none() | NUMBERS | st.text(max_size=5) | st.binary(max_size=5) | st.sampled_from(["$tuple", "$tensor", "$"])
)
LEAVES |= st.lists(st.floats(width=32), max_size=4).map(lambda them: torch.tensor(them))
LEAVES |= st.lists(st.integers(-128, 127), max_size=4).map(lambda them: np.array(them, np.int8))
KEYS = st.none() | st.integers() | st.text(max_size=3) | st.binary(max_size=3) | st.just("$set") | st.booleans()


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists, dicts = st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)
    return (
        lists
        | lists.map(tuple)
        | lists.map(deque)
        | dicts
        | dicts.map(OrderedDict)
        | dicts.map(lambda them: defaultdict(list, them))
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.builds(slice, KEYS, KEYS, KEYS)
        | st.dictionaries(KEYS, st.integers(), max_size=3).map(Counter)
    )


@given(value=st.recursive(LEAVES, containers, max_leaves=20))
def test_any_nested_containers_come_back(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "nested.safetensors"
    write(path, {}, {"x": value})
    assert_same(value, read(path).values["x"])
