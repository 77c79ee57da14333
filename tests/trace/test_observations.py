"""Records of what is no operation."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from deterministic.values.numbers import NOT_COMPARED

from ..ids import without_address
from .objects import DataDict, DataList, DataModule
from .recorded import Entry, Memory, Recorder, recorded  # type: ignore[attr-defined]
from .tensors import Opaque

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


@pytest.mark.parametrize("value", [lambda: 1, object(), torch.ones(2, device="meta")], ids=without_address)
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


def values_of(value: Any) -> list[tuple[str, str]]:
    entry: Entry = observed(value)[0]
    return entry.values("output")


def test_what_is_in_a_container_is_there_by_itself() -> None:
    assert values_of([1, {"a": (2.0, True)}]) == [("int", "[0]"), ("float", "[1]['a'][0]"), ("bool", "[1]['a'][1]")]


def test_a_container_that_is_a_dataclass_is_its_entries_and_its_other_fields() -> None:
    assert values_of(DataDict(1, beside=2.0)) == [("int", "entry"), ("float", ".beside")]
    assert values_of([DataList([1.0], beside="a")])[0] == ("float", "[0][0]")
    assert ("text", "[0].beside") in values_of([DataList([1.0], beside="a")])
    assert values_of([DataModule(1.0)]) == [("DataModule", "[0]")]


def test_a_container_that_says_its_state_is_that_state() -> None:
    class Counter(dict[str, int]):
        count = 0

        def state_dict(self) -> dict[str, int]:
            return {"count": self.count}

    one, other = Counter(a=1), Counter(a=1)
    other.count = 1
    assert values_of(one) == [("Counter", "")]
    assert observed(one)[0].hashes != observed(other)[0].hashes


def test_a_large_container_is_one_value() -> None:
    assert values_of([0.0] * 10_001) == [("list", "")]
    assert values_of({"a": [0.0] * 6000, "b": [0.0] * 6000})[-1] == ("list", "b")
    assert observed([0.0] * 10_001)[0].hashes != observed([0.0] * 10_000 + [1.0])[0].hashes


def test_what_is_shared_does_not_take_time_for_each_way_to_it() -> None:
    shared: Any = [1.0]
    for _ in range(60):
        shared = [shared, shared]
    entry, compared = observed(shared)
    assert compared == 1
    assert len(entry.hashes) <= 10_000


def test_whether_equal_values_are_one_object_makes_no_difference() -> None:
    inner = [[1.0], {"a": 2}]
    assert observed([inner, inner])[0] == observed([inner, [[1.0], {"a": 2}]])[0]


@pytest.mark.parametrize("level", ["values", "modules"])
def test_a_list_that_contains_itself_or_is_nested_too_deep_is_an_error(level: Any) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    for value, text in ((cycle, "contains itself"), ([cycle, cycle], "contains itself"), (deep, "nested too deep")):
        with pytest.raises(ValueError, match=rf"{text}\n  found: [\s\S]*\n  expected: [\s\S]*\n  where: "):
            observed(value, level)


def test_what_cannot_be_compared_is_listed_with_its_type() -> None:
    memory = Memory()
    recorder = Recorder(memory, "values")
    recorder.start()
    try:
        for _ in range(2):
            recorder.observe("it", [object(), torch.ones(1, device="meta"), {"a": lambda: 0}])
        recorder.returned({"model": Opaque(), "n" * 999: object()})
        recorder.observe("held", Data([Opaque()]))
    finally:
        recorder.stop()
    summary = recorder.summary()
    *told, clipped = summary["not_compared"]
    assert told == [
        "observed it [0]: object",
        "observed it [1]: float32 without values",
        "observed it [2]['a']: function",
    ]
    assert clipped.startswith("returned nnn")
    assert len(clipped) == 160
    assert summary["unreadable"] == ["returned model: Opaque", "observed held: Data"]
    assert summary["compared"] == 0


def test_no_more_than_20_of_them_are_listed() -> None:
    recorder = Recorder(Memory(), "values")
    recorder.start()
    try:
        recorder.returned([object()] * 50 + [Opaque()])
    finally:
        recorder.stop()
    summary = recorder.summary()
    assert (len(summary["not_compared"]), summary["unreadable"]) == (20, ["returned [50]: Opaque"])


@pytest.mark.parametrize(("content", "compared"), [([torch.ones(2)], 1), ([object()], 0)])
def test_a_batch_counts_by_its_content(content: Any, compared: int) -> None:
    recorder = Recorder(Memory(), "values")
    recorder.start()
    recorder.batch(0, 0, 0, content)
    recorder.stop()
    assert recorder.compared == compared


@pytest.mark.parametrize(("device", "compared"), [("cpu", 1), ("meta", 0)])
def test_a_step_counts_if_a_parameter_could_be_read(device: str, compared: int) -> None:
    weight = torch.nn.Parameter(torch.ones(1, device=device))
    weight.grad = torch.ones(1, device=device)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    recorder = Recorder(Memory(), "values")
    recorder.start()
    optimizer.step()
    recorder.stop()
    assert recorder.compared == compared
