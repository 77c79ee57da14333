"""Records of what is no operation."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from deterministic.trace.values import NOT_COMPARED

from .recorded import Memory, Recorder, recorded  # type: ignore[attr-defined]

pytestmark = pytest.mark.usefixtures("apart")

Pair = namedtuple("Pair", "a b")


@dataclass
class Data:
    x: Any


def observed(value: Any, level: Any = "values") -> Any:
    memory = Memory()
    recorder = Recorder(memory, level)
    recorder.start()
    try:
        recorder.observe("it", value)
    finally:
        recorder.stop()
    recorder.end()
    ((_, (entry,)),) = memory.entries()
    return entry, recorder.compared


VALUES: list[Any] = [
    torch.ones(2),
    torch.ones(()),
    1.5,
    True,
    "text",
    np.ones(2),
    [torch.ones(1), {"a": 2}],
    Pair(1, 2.0),
    Data(3),
    torch.Generator(),
    {1, 2},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_whatever_has_a_fingerprint_is_compared(value: Any) -> None:
    entry, compared = observed(value)
    assert compared == 1
    assert entry.site.name == "it"
    assert len(entry.hashes) == len(entry.site.values)
    assert observed(value)[0].hashes == entry.hashes
    assert len({tuple(observed(value)[0].hashes) for value in VALUES}) == len(VALUES)


@pytest.mark.parametrize("value", [lambda: 1, object(), torch.ones(2, device="meta")], ids=str)
def test_what_has_none_is_named_and_not_counted(value: Any) -> None:
    entry, compared = observed(value)
    assert compared == 0
    assert entry.site.values[0].type.endswith(NOT_COMPARED)


def test_what_contains_itself_is_named_and_not_counted() -> None:
    @dataclass
    class Node:
        next: Any = None

    node = Node()
    node.next = node
    assert observed(node)[1] == 0


def test_a_single_number_is_there_as_a_number_too() -> None:
    entry, _ = observed(torch.tensor(2.5))
    assert [(value.type, value.name) for value in entry.site.values] == [("float32[]", ""), ("float", "value")]


def test_observing_is_no_operation() -> None:
    def body() -> None:
        for value in (torch.tensor(2.5, dtype=torch.bfloat16), torch.ones(3, 2).t(), torch.eye(2).to_sparse()):
            recorder.observe("it", value)

    memory = Memory()
    recorder = Recorder(memory, "ops+inputs")
    values = (torch.tensor(2.5, dtype=torch.bfloat16), torch.ones(3, 2).t(), torch.eye(2).to_sparse())
    outer = recorded(lambda: None)
    recorder.start()
    try:
        for value in values:
            recorder.observe("it", value)
    finally:
        recorder.stop()
    recorder.end()
    ((_, entries),) = memory.entries()
    assert [entry.site.kind for entry in entries] == ["observed"] * 3
    assert outer.names() == []


def test_what_is_observed_within_another_recording_is_no_operation_of_it() -> None:
    x = torch.ones(3, 2).t()
    found = recorded(lambda: observed([x, torch.tensor(1.0), x.half()], "ops+inputs"), "ops+inputs")
    assert [name for name in found.names() if "lift" not in name and "_to_copy" not in name] == []


def test_a_batch_says_where_in_the_epoch_it_is() -> None:
    memory = Memory()
    recorder = Recorder(memory, "values")
    recorder.start()
    recorder.batch(1, 2, 3, [torch.ones(2)])
    recorder.stop()
    recorder.end()
    ((_, (entry,)),) = memory.entries()
    assert entry.site.place.startswith("tests/trace/test_observations.py:")
    assert [value.name for value in entry.site.values] == [
        "epoch",
        "start within the epoch",
        "number",
        "content[0]",
    ]
    assert list(entry.hashes[:3]) == [1, 2, 3]
