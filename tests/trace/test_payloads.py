from __future__ import annotations

import json
import struct
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest

from deterministic.trace.file import payloads
from deterministic.trace.file.model import TRACE_LEVELS, Segment, Step

from .traces import SITES, digest_only


@pytest.mark.parametrize("data", [{}, {"a": [None, True, 1, -1.5, "\ud800\n\x00é"], "b": {"c": 2**70}}])
def test_json_comes_back(data: Any) -> None:
    text = payloads.pack_json(dict(data))
    assert text.isascii()
    assert payloads.unpack_mapping(text) == data


@pytest.mark.parametrize("data", [float("nan"), float("inf"), {1, 2}, b"bytes", object()])
def test_what_is_not_json_is_refused(data: object) -> None:
    with pytest.raises(ValueError):
        payloads.pack_json({"a": data})


def test_a_value_that_contains_itself_is_refused() -> None:
    data: list[object] = []
    data.append(data)
    with pytest.raises(ValueError):
        payloads.pack_json(data)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", '{"é": 1}'.encode(), b"NaN", b"-Infinity", b"1" * 5000, b"[" * 10**6, b'{"a":' * 10**5]
)
def test_text_that_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        payloads.unpack_json(text)


@pytest.mark.parametrize("text", [b"[]", b"null", b'"text"', b"1"])
def test_a_header_is_a_mapping(text: bytes) -> None:
    with pytest.raises(ValueError, match="where names and values should be"):
        payloads.unpack_mapping(text)


def test_a_long_number_takes_no_time() -> None:
    text = b"[" + b"7" * (payloads.JSON_LIMIT - 2) + b"]"
    begin = time.perf_counter()
    with pytest.raises(ValueError):
        payloads.unpack_json(text)
    assert time.perf_counter() - begin < 5


def test_json_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "JSON_LIMIT", 10)
    assert payloads.unpack_json(payloads.pack_json("12345678")) == "12345678"
    with pytest.raises(ValueError):
        payloads.pack_json("123456789")
    with pytest.raises(ValueError):
        payloads.unpack_json(b'"123456789"')


@pytest.mark.parametrize("level", TRACE_LEVELS)
def test_every_level_is_known(level: str) -> None:
    assert payloads.level_of({"level": level}) == level


@pytest.mark.parametrize("header", [{}, {"level": "everything"}, {"level": None}, {"level": []}])
def test_a_header_without_a_level_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a header with the level"):
        payloads.level_of(header)


def test_sites_come_back() -> None:
    assert payloads.unpack_sites(payloads.pack_sites(SITES)) == SITES


def changed(place: int, value: object) -> list[Any]:
    data = SITES[0].as_json()
    data[place] = value
    return [data]


@pytest.mark.parametrize(
    "data",
    [
        {},
        [[]],
        [None],
        ["operation"],
        [SITES[0].as_json()[:-1]],
        [[*SITES[0].as_json(), ""]],
        changed(1, 5),
        changed(-1, "text"),
        changed(-1, [["input", "float32[]", ""]]),
        changed(-1, [["input", "float32[]", "", None]]),
        changed(-1, ["abcd"]),
        changed(-2, "text"),
        changed(-2, [["a.py:1", "f", "x"]]),
        changed(-2, [["a.py:1", "f", "x", 1]]),
    ],
)
def test_json_that_has_no_sites_is_refused(data: Any) -> None:
    with pytest.raises(ValueError):
        payloads.unpack_sites(zlib.compress(json.dumps(data).encode()))


def test_numbers_come_back() -> None:
    words = [0, 1, 2**32 - 1]
    packed = payloads.pack_numbers(np.array(words, payloads.U32).tobytes())
    assert payloads.unpack_numbers(packed).tolist() == words


def test_numbers_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "NUMBERS_LIMIT", 10)
    assert len(payloads.unpack_numbers(payloads.pack_numbers(bytes(40)))) == 10
    with pytest.raises(ValueError):
        payloads.pack_numbers(bytes(44))
    with pytest.raises(ValueError):
        payloads.unpack_numbers(zlib.compress(bytes(44)))


@pytest.mark.parametrize(
    "payload",
    [b"", b"text", zlib.compress(bytes(8))[:-1], zlib.compress(bytes(8)) + b"x", zlib.compress(bytes(7))],
)
def test_what_are_no_numbers_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):
        payloads.unpack_numbers(payload)


@pytest.mark.parametrize("unpack", [payloads.unpack_sites, payloads.unpack_numbers, payloads.unpack_digests])
def test_a_bomb_is_not_inflated(unpack: Any) -> None:
    bomb = zlib.compress(b"[" + b" " * 2**27 + b"]", 1)
    if unpack is payloads.unpack_digests:
        bomb = struct.pack("<I", 1) + bytes(16) + bomb
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("step", [Step(-1, 0), Step(2**31 - 1, 2**64 - 1, 2**32 - 1)])
def test_a_step_comes_back(step: Step) -> None:
    segment, more = Segment(step, bytes(16), bytes(range(16))), (2**63, 2**64 - 1, 2)
    assert payloads.unpack_step(payloads.pack_step(segment, *more)) == (*segment[:3], *more)


@pytest.mark.parametrize("optimizer", [-2, -(2**31)])
def test_there_is_no_optimizer_before_none(optimizer: int) -> None:
    segment = Segment(Step(optimizer, 0), bytes(16), bytes(16))
    with pytest.raises(ValueError):
        payloads.unpack_step(payloads.pack_step(segment, 0, 0, 0))
    with pytest.raises(ValueError):
        payloads.unpack_digests(payloads.pack_digests([segment]))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_step_of_another_length_is_refused(change: int) -> None:
    packed = payloads.pack_step(digest_only(0), 0, 0, 0)
    with pytest.raises(ValueError):
        payloads.unpack_step((packed + b"x")[: len(packed) + change])


@pytest.mark.parametrize("length", [0, 1, 128])
def test_digests_come_back(length: int) -> None:
    segments = [digest_only(count) for count in range(length)]
    assert payloads.unpack_digests(payloads.pack_digests(segments)) == segments


def test_digests_that_are_not_whole_are_refused() -> None:
    packed = payloads.pack_digests([digest_only(count) for count in range(3)])
    for length in range(len(packed)):
        with pytest.raises(ValueError):
            payloads.unpack_digests(packed[:length])
    for number in (2, 4, 2**32 - 1):
        with pytest.raises(ValueError):
            payloads.unpack_digests(struct.pack("<I", number) + packed[4:])
    for steps in (b"", bytes(47), bytes(49), bytes(64)):
        with pytest.raises(ValueError):
            payloads.unpack_digests(packed[: 4 + 48] + zlib.compress(steps))


def test_digests_have_a_limit() -> None:
    limit = payloads.DIGESTS_LIMIT
    assert len(payloads.unpack_digests(payloads.pack_digests([digest_only(0)] * limit))) == limit
    with pytest.raises(ValueError):
        payloads.unpack_digests(payloads.pack_digests([digest_only(0)] * (limit + 1)))
