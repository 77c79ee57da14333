"""Records, segments and their digests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from deterministic.trace.file import payloads
from deterministic.trace.file.model import Line, Segment, Site, Step, Value
from deterministic.trace.recording.log import Log

from .recorded import Memory

OPERATION = Site("operation", "aten.add", values=(Value("output", "float32[]"),))
STATE = Site("parameter", "SGD", values=(Value("output", "float32[]", "a"), Value("output", "float32[]", "b")))


def test_a_segment_has_its_records_and_each_site_is_written_once() -> None:
    memory = Memory()
    log = Log(memory, "ops")
    for _ in range(2):
        log.add(log.site(OPERATION), [1])
        log.add(log.site(STATE), [2, torch.tensor(-1)])
        assert len(log) == 2
        log.end_step(0, 5)
    log.end()
    assert memory.sites == [OPERATION, STATE]
    assert [segment.step for segment in memory.segments] == [Step(0, 5), Step(0, 5), Step(-1, 2)]
    assert list(memory.segments[1].records) == [0, 1]
    assert list(memory.segments[1].hashes) == [1, 2, 2**64 - 1]


def test_the_digest_of_values_is_the_same_at_every_level() -> None:
    digests = []
    for level in ("digest", "values", "ops"):
        memory = Memory()
        log = Log(memory, level)
        if level == "ops":
            log.add(log.site(OPERATION), [1])
        log.add(log.site(STATE), [2, 3])
        log.end_step(0, 0)
        digests.append(memory.segments[0].values_digest)
        assert (memory.segments[0].digest == memory.segments[0].values_digest) is (level != "ops")
        assert (len(memory.segments[0].records), len(memory.sites)) == {
            "digest": (0, 0),
            "values": (1, 1),
            "ops": (2, 2),
        }[level]
    assert len(set(digests)) == 1


def test_a_digest_tells_hashes_and_sites_apart() -> None:
    def digest(site: Site, hashes: Sequence[int]) -> bytes:
        memory = Memory()
        log = Log(memory, "ops")
        log.add(log.site(site), hashes)
        log.end()
        return memory.segments[0].digest

    assert len({digest(OPERATION, [1]), digest(OPERATION, [2]), digest(OPERATION._replace(name="x"), [1])}) == 3


def test_where_inputs_came_from_and_where_the_text_stands_does_not_make_another_site() -> None:
    one, other = (
        OPERATION._replace(values=(Value("input", "float32[]", "self", origin),)) for origin in ("outside", "")
    )
    assert one.key == other.key
    elsewhere = Line("b.py:2")
    assert one.key == one._replace(place="a.py:1", function="g", text="x", source="1", callers=(elsewhere,)).key
    assert one.key == one._replace(root_class="Net").key
    assert one.key != one._replace(module="b.3").key != one._replace(arguments="dim=1").key


def test_a_renamed_class_or_compiled_function_is_the_same_site() -> None:
    named = Site("input", "Net", "forward", module_class="Net", root_class="Net")
    assert named.key == named._replace(name="Other", module_class="Other", root_class="Other").key
    assert named.key != named._replace(kind="module").key
    compiled = OPERATION._replace(name="compiled step")
    assert compiled.key == compiled._replace(name="compiled train").key
    assert compiled.key != compiled._replace(name="compile").key


def test_a_segment_without_a_step_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "LONGEST_SEGMENT", 3)
    memory = Memory()
    log = Log(memory, "ops")
    for index in range(7):
        log.add(log.site(OPERATION), [index])
    log.end_step(0, 0)
    log.end()
    assert [segment.step for segment in memory.segments] == [
        Step(-1, 0, 1),
        Step(-1, 0, 2),
        Step(0, 0),
        Step(-1, 1),
    ]
    assert [list(segment.hashes) for segment in memory.segments] == [[0, 1, 2], [3, 4, 5], [6], []]


class Full:
    """A disk that is full after a number of segments."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, segment: Segment, new_sites: Sequence[Site]) -> None:
        self.room -= 1
        if self.room < 0:
            raise OSError("no space left on device")


def test_a_writer_that_fails_raises_once_and_nothing_more_is_collected() -> None:
    log = Log(Full(1), "ops")
    log.end_step(0, 0)
    log.add(log.site(OPERATION), [1])
    with pytest.raises(OSError, match="no space"):
        log.end_step(0, 1)
    assert log.failed
    for _ in range(3):
        log.add(log.site(OPERATION), [1])
        log.end_step(0, 2)
    log.end()
    assert len(log) == 0
