"""Traces of different levels compared, and what comparing costs."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deterministic.trace.comparing import compare as module
from deterministic.trace.comparing.cursor import common_subsequence
from deterministic.trace.comparing.divergence import Comparison
from deterministic.trace.file.model import TRACE_LEVELS, Segment, Site, Step, TraceLevel
from deterministic.trace.file.store import TraceWriter
from tests.trace.runs import FOOTER, HEADER, Pair, Rec, changed, compared, op, ops, part, rec, step

A = ops(1, 2, 3, 4, 5, 6)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


# Levels

EVERYTHING = [
    rec("input", "GPT", part("output", 1)),
    op(2, "mul.Tensor", part("input", 3, name="self"), line=2),
    rec("module", "Linear", part("output", 4), module="b.3"),
    rec("gradient", "SGD", part("output", 5, name="weight")),
    rec("parameter", "SGD", part("output", 6, name="weight")),
]
LOWEST = ["digest", "ops", "modules", "digest", "digest"]


@pytest.mark.parametrize("levels", [*itertools.product(TRACE_LEVELS, TRACE_LEVELS)])
def test_the_highest_level_that_both_have_is_compared(pair: Pair, levels: tuple[TraceLevel, TraceLevel]) -> None:
    common = TRACE_LEVELS[min(TRACE_LEVELS.index(level) for level in levels)]
    assert pair.compare([step(0, *EVERYTHING)], [step(0, *EVERYTHING)], levels=levels) == Comparison(
        common, 1, optimizers=1, has_operations=TRACE_LEVELS.index(common) >= TRACE_LEVELS.index("ops")
    )
    for index, (site, hashes) in enumerate(EVERYTHING):
        other = [*EVERYTHING]
        other[index] = Rec(site, (*hashes[:-1], 99))
        found = pair.compare([step(0, *EVERYTHING)], [step(0, *other)], levels=levels).divergence
        assert (found is not None) == (TRACE_LEVELS.index(LOWEST[index]) <= TRACE_LEVELS.index(common))
        if found is not None and common == "digest":
            assert (found.step, found.first, found.second, found.level) == (Step(0, 0), None, None, "digest")
        elif found is not None:
            assert found.first is not None
            assert found.first.site.kind == site.kind


@pytest.mark.parametrize("levels", [("ops", "ops+inputs"), ("modules", "ops"), ("values", "ops")])
def test_later_steps_that_are_equal_do_not_count_where_levels_differ(
    pair: Pair, levels: tuple[TraceLevel, TraceLevel]
) -> None:
    one = [step(count, *EVERYTHING) for count in range(5)]
    other = [
        step(count, *(changed(EVERYTHING[:1], 0) if count == 1 else EVERYTHING[:1]), *EVERYTHING[1:])
        for count in range(5)
    ]
    assert pair.divergence(one, other, levels=levels).later_steps == 0


def test_equal_digests_are_not_believed_across_levels(tmp_path: Path) -> None:
    site = op(0).site
    paths = [tmp_path / "a.trace", tmp_path / "b.trace"]
    for path, level, bits in zip(paths, ("ops", "ops+inputs"), (1, 2), strict=True):
        with TraceWriter(path, {**HEADER, "level": level}) as writer:
            writer.write(Segment(Step(0, 0), b"d" * 16, b"v" * 16, [0], [bits]), [site])
            writer.close(dict(FOOTER))
    found, _ = compared(paths[0], paths[1])
    assert found.divergence is not None


# What it costs


def write_large(path: Path, level: str, segments: int, records: int, sites: Sequence[Site], seed: int) -> None:
    generator = np.random.default_rng(seed)
    program = array("I", np.arange(records, dtype=np.uint32) % len(sites))
    with TraceWriter(path, {**HEADER, "level": level}) as writer:
        for count in range(segments):
            hashes = generator.integers(0, 2**63, records, dtype=np.uint64)
            if count == segments - 1:
                hashes[-1] = len(level)
            segment = Segment(Step(0, count), bytes(16), bytes(16), program, array("Q", hashes.tobytes()))
            writer.write(segment, sites if not count else ())
        writer.close(dict(FOOTER))


@pytest.mark.slow
def test_memory_holds_no_more_than_a_segment_of_each(tmp_path: Path) -> None:
    paths = [tmp_path / "a.trace", tmp_path / "b.trace"]
    records = 1 << 15
    sites = [record.site for record in ops(*range(700))]
    for path, level in zip(paths, ("ops", "ops+inputs"), strict=True):
        write_large(path, level, 200, records, sites, 0)
    assert paths[0].stat().st_size > 50 * 2**20
    tracemalloc.start()
    try:
        found, loaded = compared(paths[0], paths[1])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.divergence is not None
    assert (found.divergence.segment, loaded) == (199, 200)
    segment = 8 * records + 4 * records
    assert peak < 2 * segment + 6 * 2**20


@pytest.mark.parametrize("sites", [2, 50, 1 << 13])
def test_the_alignment_of_a_segment_that_differs_everywhere_takes_linear_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sites: int
) -> None:
    cells = []

    def counted(a: Any, b: Any) -> Any:
        cells.append(len(a) * len(b))
        return common_subsequence(a, b)

    monkeypatch.setattr(module, "common_subsequence", counted)
    monkeypatch.setattr(module, "_WINDOW", 256)
    length = 1 << 14
    paths = [tmp_path / "a.trace", tmp_path / "b.trace"]
    known = [op(0, line=line).site for line in range(sites)]
    for seed, path in enumerate(paths):
        chosen = random.Random(seed).choices(range(sites), k=length)
        with TraceWriter(path, {**HEADER, "level": "ops"}) as writer:
            writer.write(Segment(Step(0, 0), bytes([seed] * 16), bytes(16), chosen, chosen), known)
            writer.close(dict(FOOTER))
    found, _ = compared(paths[0], paths[1])
    assert found.divergence is not None
    assert sum(cells) <= 2 * 2 * length * 256
    matched = length - (found.divergence.first.index if found.divergence.first else 0) - found.divergence.only_first
    assert matched <= length
