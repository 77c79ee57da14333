"""What a fingerprint promises, and what has none."""

from __future__ import annotations

import copy
import functools
import random
import struct
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import xxhash
from torch import nn

from deterministic.values.fingerprint import fingerprint

from ..processes import run_python
from .objects import Config, Net, Point, Stateful, a_function, trained
from .tensors import DTYPES, Opaque, bytes_of, composite, nothing_seen, random_bits, views


def sealed(kind: str, *parts: bytes) -> bytes:
    """How a value is written, once more: its kind and its parts, each with its length before it."""
    hashing = xxhash.xxh3_128()
    for part in (kind.encode(), *parts):
        hashing.update(struct.pack("<Q", len(part)))
        hashing.update(part)
    return hashing.digest()


def text(value: str) -> bytes:
    return sealed("str", value.encode())


def test_fingerprints_never_change_between_versions() -> None:
    # People keep them beside checkpoints: a change is a breaking change.
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    values = xxhash.xxh3_128_digest(struct.pack("<6f", *range(6)))
    written = sealed("tensor", b"torch.float32", struct.pack("<2q", 2, 3), values)
    assert fingerprint(tensor) == written.hex() == "7e75d493a4ceef1074a4bb13b4e3f872"
    array = sealed("array", b"<i2", xxhash.xxh3_128_digest(struct.pack("<2h", 1, -1)), struct.pack("<q", 2))
    assert fingerprint(np.array([1, -1], np.int16)) == array.hex() == "58fbeb894491b0377822a7f8323fbb6c"
    numbers = sealed(
        "list", sealed("int", b"\xff\x00"), sealed("float", struct.pack("<d", -0.0)), sealed("bool", b"\1")
    )
    assert fingerprint([255, -0.0, True]) == numbers.hex() == "e2f863a80521471fc6561d5866e25633"
    pairs = sorted([(text("a"), written), (text("b"), sealed("tuple")), (sealed("None", b""), text("é"))])
    assert (
        fingerprint({"a": tensor, "b": (), None: "é"})
        == sealed("dict", *(b for p in pairs for b in p)).hex()
        == "262de643d316d43b16d86c164d043a2d"
    )
    assert (
        fingerprint(Point(1, "x"))
        == sealed("object", b"Point", b"x", sealed("int", b"\1"), b"y", text("x")).hex()
        == "175cf2b830bfbfc9b0bac3c6d391b88a"
    )
    assert fingerprint(1 + 2j) == sealed("complex", struct.pack("<2d", 1.0, 2.0)).hex()
    assert fingerprint(torch.Generator().manual_seed(1)) == "e8a7747d23feb7b6fa0a227e42e5c365"
    assert fingerprint(np.random.default_rng(1)) == "84b294a7252ba8b17ac2a7976e21aec7"
    assert fingerprint(random.Random(1)) == "27a91bc94221d373316e0210816ee303"


def test_the_bits_are_those_of_the_tensor() -> None:
    tensor = random_bits(torch.bfloat16, 4, 3)
    data = xxhash.xxh3_128_digest(bytes_of(tensor))
    assert fingerprint(tensor) == sealed("tensor", b"torch.bfloat16", struct.pack("<2q", 4, 3), data).hex()


@pytest.mark.usefixtures("warm_pythons")
def test_other_processes_find_the_same_fingerprints_and_initialize_no_device() -> None:
    code = (
        "import torch, numpy as np; from deterministic.values.fingerprint import fingerprint\n"
        "value = [{'a': 1, 'b': {'x', 'y', 'z'}}, torch.arange(5.0), np.arange(3), {1, 2.5, None}]\n"
        "value += [torch.ones(2, 3).t(), torch.device('cuda'), torch.Generator().manual_seed(1)]\n"
        "print(fingerprint(value), torch.cuda.is_initialized())"
    )
    value = [{"b": {"z", "y", "x"}, "a": 1}, torch.arange(5.0), np.arange(3), {None, 2.5, 1}]
    value += [torch.ones(3, 2), torch.device("cuda"), torch.Generator().manual_seed(1)]
    assert run_python(code, PYTHONHASHSEED="0") == run_python(code, PYTHONHASHSEED="1") == f"{fingerprint(value)} False"


class Hardware(random.Random):
    def getstate(self) -> Any:
        raise NotImplementedError


WITHOUT = {
    "a function": (a_function, "builtins.function", "the value itself"),
    "a class": (nn.Linear, "builtins.type", "the value itself"),
    "an object": ([object()], "builtins.object", "[0]"),
    "deep inside": ({"model": [1, 2, 3, Config(a_function)]}, "builtins.function", '["model"][3].rate'),
    "a lambda in a partial": (
        {"model": [0, 0, 0, types.SimpleNamespace(callback=functools.partial(lambda: 0))]},
        "builtins.function",
        '["model"][3].callback.func',
    ),
    "a key": ({"a": {object: 1}}, "builtins.type", '["a"] (the key type)'),
    "an element": ([{a_function}], "builtins.function", "[0] (the key function)"),
    "a state": ({"a": Stateful([object()])}, "builtins.object", '["a"].state_dict()[0]'),
    "an element of an array": (np.array([[1, object()]], object), "builtins.object", "[(0, 1)]"),
    "a masked array": (np.ma.masked_array([1], [True]), "numpy.ma.MaskedArray", "the value itself"),
    "what a method is bound to": (functools.partial({"a": a_function}.get), "builtins.function", '.func.__self__["a"]'),
    "a long attribute": (types.SimpleNamespace(**{"x" * 99: object()}), "builtins.object", f".{'x' * 40}"),
    "a long key": ({"x" * 99: object()}, "builtins.object", f'["{"x" * 39}...]'),
    "the system's randomness": ([random.SystemRandom()], "random.SystemRandom", "[0]"),
    "other randomness without a state": ([Hardware()], f"{__name__}.Hardware", "[0]"),
    "a meta tensor": ([torch.ones(2, device="meta")], "Tensor of shape [2], torch.float32", "[0]"),
    "an opaque tensor": ({"a": Opaque()}, "Opaque of shape [2], torch.float32", '["a"]'),
    "a lazy module": (nn.LazyLinear(2), "UninitializedParameter, torch.float32", '["weight"]'),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_fingerprint_is_named_with_its_place(name: str) -> None:
    value, found, where = WITHOUT[name]
    with pytest.raises(TypeError) as caught:
        fingerprint(value)
    lines = str(caught.value).splitlines()
    assert f"  found: {found}" in [line.replace("numpy.ma.core.", "numpy.ma.") for line in lines]
    assert f"  where: {where}" in lines
    assert any(line.startswith("  expected: ") for line in lines)
    assert not lines[-1].startswith(" ")


def test_a_value_that_contains_itself_is_an_error() -> None:
    inner: dict[str, Any] = {}
    inner["self"] = [inner]
    with pytest.raises(ValueError, match=r'contains itself\n  found: dict\n.*\n  where: \["a"\]\["self"\]\[0\]\n'):
        fingerprint({"a": inner})
    shared = [1]
    assert fingerprint([shared, shared]) == fingerprint([[1], [1]])


def nested(levels: int, innermost: Any = 1) -> Any:
    value = innermost
    for level in range(levels):
        value = {"x" * 99: value} if level == 2 else Config(value) if level % 2 else [value]
    return value


def test_values_may_be_nested_100_levels_deep_and_no_deeper() -> None:
    assert fingerprint(nested(100)) != fingerprint(nested(100, 2))
    for levels in (101, 10_000):
        with pytest.raises(ValueError, match="nested too deep") as caught:
            fingerprint(nested(levels))
        *_, where, remedy = str(caught.value).splitlines()
        assert where.startswith("  where: ")
        assert len(where) < 1000
        assert remedy == "Flatten them, or pass the parts."


def test_where_something_is_stays_short_however_deep_it_is() -> None:
    with pytest.raises(TypeError) as caught:
        fingerprint({"first": nested(90, {"last": object()})})
    (where,) = (line for line in str(caught.value).splitlines() if "where: " in line)
    assert where.startswith('  where: ["first"]')
    assert where.endswith('["last"]')
    assert " ... " in where
    assert len(where) < 1000


def test_what_is_shared_is_written_once() -> None:
    asked = []

    class Counting(Stateful):
        def state_dict(self) -> Any:
            asked.append(self)
            return super().state_dict()

    shared: Any = [Counting([index]) for index in range(30)]
    equal = fingerprint([[*shared], [*shared]])
    asked.clear()
    assert fingerprint([shared, shared]) == equal
    assert len(asked) == 30
    for _ in range(90):  # 2**90 values, as a tree
        shared = [shared, shared]
    assert fingerprint(shared) == fingerprint(copy.deepcopy(shared))


def test_what_is_made_on_the_way_is_not_taken_for_what_was_there_before() -> None:
    class Fresh:
        def __init__(self, number: int) -> None:
            self.number = number

        def state_dict(self) -> Any:
            return [[self.number] * 40]  # freed when it was written, so that the next may have its id

    found = [fingerprint([Fresh(number), Fresh(number + 1)]) for number in range(3)]
    assert found == [fingerprint([[[number] * 40], [[number + 1] * 40]]) for number in range(3)]


def test_an_unpicklable_object_with_a_hostile_repr_is_only_named() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise AssertionError("repr was called")

        __hash__ = __reduce_ex__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="Hostile"):
        fingerprint([Hostile()])


def test_no_mode_sees_an_operation() -> None:
    net, optimizer, generator = Net(), trained(Net()), torch.Generator()
    values = [
        torch.ones(2, 3).t(),
        net,
        optimizer,
        generator,
        *composite().values(),
        *(one for one, _ in views().values()),
    ]
    expected = [fingerprint(value) for value in values]
    with nothing_seen():
        found = [fingerprint(value) for value in values]
    assert found == expected


def test_threads_may_ask_at_once() -> None:
    value = {"net": Net(), "numbers": list(range(200)), "array": np.arange(999), "view": torch.ones(3, 4).t()}
    expected, start = fingerprint(value), threading.Barrier(4)

    def asked() -> set[str]:
        start.wait()
        return {fingerprint(value) for _ in range(20)}

    with ThreadPoolExecutor(4) as pool:
        assert {one for asking in [pool.submit(asked) for _ in range(4)] for one in asking.result()} == {expected}


def test_nothing_is_changed_by_being_looked_at() -> None:
    net = Net()
    optimizer = trained(net)
    kept = [parameter.grad for parameter in net.parameters()]
    states = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # type: ignore[index]
    fingerprint([net, optimizer, torch.ones(3, requires_grad=True)])
    assert [parameter.grad for parameter in net.parameters()] == kept
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == states  # type: ignore[index]


@pytest.mark.gpu
def test_the_device_does_not_count() -> None:
    for dtype in DTYPES:
        tensor = random_bits(dtype, 5, 7)
        assert fingerprint(tensor) == fingerprint(tensor.cuda()) == fingerprint(tensor.t().cuda().t()), dtype
    big = random_bits(torch.float32, 3000, 3000)
    assert fingerprint(big.t()) == fingerprint(big.cuda().t())
    net = Net()
    assert fingerprint(net.state_dict()) == fingerprint(copy.deepcopy(net).cuda().state_dict())
