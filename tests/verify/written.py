"""Traces as a run would have written them, from the numbers that it shall have observed, and reports on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deterministic.ground.source import JSON
from deterministic.trace.comparing.diff import diff_files
from deterministic.trace.file.model import NO_OPTIMIZER, Segment, Site, Step, Value
from deterministic.trace.file.store import TraceWriter
from deterministic.values.numbers import number_bits
from deterministic.verification.report import Report

HEADER: Mapping[str, JSON] = {"level": "values", "hashes": ["one", "two"]}


def observed(name: str, dtype: str = "float32") -> Site:
    """The site of a tensor of one element that was observed."""
    values = (Value("output", f"{dtype}[]"), Value("output", "float", "value"))
    return Site("observed", name, place="train.py:7", values=values)


def write_run(
    path: Path,
    losses: Sequence[Sequence[float]],
    *,
    dtype: str = "float32",
    gradients: Sequence[int] | None = None,
    returned: Sequence[float] = (),
    names: Sequence[str] = ("loss",),
) -> None:
    """Write what a run observed at each step, the hash of a gradient at each step, and a list that it returned."""
    gradient = Site("gradient", "SGD", values=(Value("output", "float32[4]", "weight"),))
    sites = [gradient, *(observed(name, dtype) for name in names)]
    listed = tuple(Value("output", "float", f"[{index}]") for index in range(len(returned)))
    with TraceWriter(path, HEADER) as trace:
        new = [*sites, Site("returned", "", values=listed)]
        for count, at_step in enumerate(losses):
            records, hashes = [], []
            for number in at_step:
                for index in range(len(names)):
                    records.append(1 + index)
                    hashes += [number_bits(number), number_bits(number)]
            records.append(0)
            hashes.append(gradients[count] if gradients else 0)
            trace.write(_segment(Step(0, count), records, hashes), new)
            new = []
        tail = [number_bits(number) for number in returned]
        trace.write(_segment(Step(NO_OPTIMIZER, len(losses)), [len(sites)] if tail else [], tail), new)
        trace.close({"steps": len(losses), "compared": 1, "raised": None, "generators": {}})


def _segment(step: Step, records: list[int], hashes: list[int]) -> Segment:
    digest = hashlib.md5(repr((records, hashes)).encode()).digest()
    return Segment(step, digest, digest, records, hashes)


def report_on(*paths: Path, title: str = "train") -> Report:
    """Return the report on runs, the last of which may differ from the first."""
    names = [f"run {number + 1}" for number in range(len(paths))]
    verdict = diff_files(paths[0], paths[-1], (names[0], names[-1]))
    steps = verdict.comparison.steps if verdict.comparison else 0
    reasons = ["nothing was recorded"] if verdict.outcome == "could not tell" else []
    traces = dict(zip(names, paths, strict=True))
    return Report(title, verdict.outcome, len(paths), steps, [1.0] * len(paths), verdict, reasons, [], traces)


def two_runs(folder: Path, one: Any, other: Any, **options: Any) -> Report:
    """Return the report on two runs that observed these losses."""
    for name, losses in (("one", one), ("other", other)):
        write_run(folder / name, [[loss] if isinstance(loss, float) else loss for loss in losses], **options)
    return report_on(folder / "one", folder / "other")
