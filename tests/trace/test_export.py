from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from deterministic.errors import TraceError
from deterministic.trace.export import export, number_of
from deterministic.trace.file.model import Line, Segment, Site, Step, Value

from .traces import SETTINGS, SITES, SMALL, A, B, Write, any_writes, digest_only, read_trace, write_trace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


def exported(path: Path) -> list[dict[str, Any]]:
    stream = io.StringIO()
    export(path, stream)
    assert stream.getvalue().isascii()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_trace_is_a_header_segments_with_their_records_and_a_footer(tmp_path: Path) -> None:
    sites = [
        Site(
            "operation",
            "aten.add.Tensor",
            "backward",
            "b.3.o",
            "Linear",
            "GPT",
            "models.py:17",
            "forward",
            "AddBackward0",
            "alpha=1",
            "return x + y",
            "0123",
            (Line("train.py:3", "main", "model(x)", is_own=True),),
            (Value("number", "float", "lr"), Value("output", "float32[2]", "", "outside")),
        ),
        Site("observed", "loss", values=(Value("output", "float32[]"),)),
    ]
    bits = int.from_bytes(struct.pack("<d", 0.1), "little")
    write_trace(tmp_path / "a", [(Segment(Step(0, 7), A, B, [1, 0], [255, bits, 2**64 - 1]), sites)], {"steps": 1})
    step = {"optimizer": 0, "number": 7, "part": 0}
    assert exported(tmp_path / "a") == [
        {"header": {"level": "ops", "versions": {"torch": "2.13.0"}}},
        {"segment": {**step, "digest": A.hex(), "values_digest": B.hex()}},
        {
            "record": {
                **step,
                "index": 0,
                "kind": "observed",
                "name": "loss",
                **dict.fromkeys(
                    ["phase", "module", "module_class", "root_class", "place", "function", "node", "arguments"], ""
                ),
                "text": "",
                "source": "",
                "callers": [],
                "values": [
                    {"role": "output", "type": "float32[]", "name": "", "origin": "", "hash": "00000000000000ff"}
                ],
            }
        },
        {
            "record": {
                **step,
                "index": 1,
                "kind": "operation",
                "name": "aten.add.Tensor",
                "phase": "backward",
                "module": "b.3.o",
                "module_class": "Linear",
                "root_class": "GPT",
                "place": "models.py:17",
                "function": "forward",
                "node": "AddBackward0",
                "arguments": "alpha=1",
                "text": "return x + y",
                "source": "0123",
                "callers": [{"place": "train.py:3", "function": "main", "text": "model(x)", "is_own": True}],
                "values": [
                    {
                        "role": "number",
                        "type": "float",
                        "name": "lr",
                        "origin": "",
                        "hash": "3fb999999999999a",
                        "number": 0.1,
                    },
                    {
                        "role": "output",
                        "type": "float32[2]",
                        "name": "",
                        "origin": "outside",
                        "hash": "ffffffffffffffff",
                    },
                ],
            }
        },
        {"footer": {"steps": 1}, "truncated": False},
    ]


def test_a_segment_without_records_is_one_line(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", [(digest_only(3), ())], {}, level="digest")
    digest = digest_only(3).digest.hex()
    assert exported(tmp_path / "a")[1:-1] == [
        {"segment": {"optimizer": 0, "number": 3, "part": 0, "digest": digest, "values_digest": digest}}
    ]


@pytest.mark.parametrize(("cut", "truncated"), [(0, False), (1, True)])
def test_a_trace_that_is_not_finished_has_no_footer(cut: int, truncated: bool, tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL)
    os.truncate(tmp_path / "a", (tmp_path / "a").stat().st_size - cut)
    assert exported(tmp_path / "a")[-1] == {"footer": None, "truncated": truncated}


def test_what_comes_before_the_damage_is_written(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL)
    data = bytearray((tmp_path / "a").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a").write_bytes(data)
    stream = io.StringIO()
    with pytest.raises(TraceError, match="is damaged"):
        export(tmp_path / "a", stream)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sum("segment" in line for line in lines) == len(read_trace(tmp_path / "a").segments) > 0
    assert "footer" not in lines[-1]


def test_no_path_is_added(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL, {})
    assert str(tmp_path) not in json.dumps(exported(tmp_path / "a"))


@pytest.mark.parametrize(
    ("type_", "bits", "number"),
    [
        ("float", int.from_bytes(struct.pack("<d", -2.5), "little"), -2.5),
        ("float", int.from_bytes(struct.pack("<d", float("nan")), "little"), "nan"),
        ("float", int.from_bytes(struct.pack("<d", float("-inf")), "little"), "-inf"),
        ("int", 2**64 - 3, -3),
        ("int", 7, 7),
        ("bool", 1, True),
        ("bool", 0, False),
        ("text", 7, None),
    ],
)
def test_numbers_are_numbers(type_: str, bits: int, number: object) -> None:
    found = number_of(Value("number", type_), bits)
    assert (found, type(found)) == (number, type(number))
    assert number_of(Value("output", type_), bits) is None


@SETTINGS
@given(writes=any_writes())
def test_each_record_is_a_line_and_each_hash_is_where_it_belongs(folder: Path, writes: list[Write]) -> None:
    write_trace(folder / "a", writes, {})
    lines = exported(folder / "a")
    content = read_trace(folder / "a")
    records = [line["record"] for line in lines if "record" in line]
    assert [record["name"] for record in records] == [
        content.sites[record].name for segment in content.segments for record in segment.records
    ]
    assert [int(value["hash"], 16) for record in records for value in record["values"]] == [
        bits for segment in content.segments for bits in segment.hashes
    ]


def test_the_sites_of_the_small_trace_have_records_without_values(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", SMALL, {})
    values = [len(line["record"]["values"]) for line in exported(tmp_path / "a") if "record" in line]
    assert values == [len(SITES[record].values) for segment, _ in SMALL for record in segment.records]


def test_the_paths_that_the_reference_gives_lead_to_the_same_things() -> None:
    from deterministic.trace import export as public
    from deterministic.trace import reasons
    from deterministic.trace.comparing.reasons import Cause, Reason

    assert public.export is export
    assert (reasons.Cause, reasons.Reason) == (Cause, Reason)
