"""`record`: around a block and a function, whatever becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_modules

from deterministic import current_run, record, reproducible
from deterministic.errors import DeterministicError, TraceError
from deterministic.trace.file import chunks
from deterministic.trace.file.store import TraceReader
from deterministic.trace.recording.record import Recording, path_of_rank
from deterministic.trace.recording.seeding import ACTIVE

from .models import MODELS, train

pytestmark = pytest.mark.usefixtures("apart")


def footer_of(path: Path) -> Any:
    with TraceReader(path) as trace:
        list(trace.segments())
        return trace.footer


def nothing_is_left() -> bool:
    return not (ACTIVE or torch_modules._global_forward_hooks or torch._C._len_torch_dispatch_stack())


def test_a_block_is_recorded_with_its_steps(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with record(path) as trace:
        train(MODELS["lstm"](), 2)
        trace.observe("it", 1.5)
    footer = footer_of(path)
    assert (footer["steps"], footer["raised"]) == (2, None)
    assert footer["compared"] > 2
    with TraceReader(path) as reader:
        assert len(list(reader.segments())) == 3
        assert reader.header["level"] == "ops"
        assert {site.kind for site in reader.sites} >= {"operation", "parameter", "gradient", "observed"}
    assert nothing_is_left()


def test_a_trace_carries_a_manifest_and_one_of_verify_none(tmp_path: Path) -> None:
    with reproducible(7), record(tmp_path / "a.trace") as trace:
        trace.observe("it", 1.5)
    with TraceReader(tmp_path / "a.trace") as reader:
        assert reader.header["manifest"]["seed"] == 7
        assert reader.header["manifest"]["versions.torch"] == torch.__version__
    with Recording(tmp_path / "b.trace", "ops"), TraceReader(tmp_path / "b.trace") as reader:
        assert "manifest" not in reader.header


def test_a_function_is_recorded_with_what_it_returns(tmp_path: Path) -> None:
    @record(tmp_path / "a.trace", "values")
    def work(x: float) -> float:
        """Work."""
        return x + 1

    assert [work(1.0), work(2.0)] == [2.0, 3.0]
    assert work.__doc__ == "Work."
    with TraceReader(tmp_path / "a.trace") as reader:
        list(reader.segments())
        assert [site.kind for site in reader.sites] == ["returned"]


def test_a_function_whose_body_runs_later_is_refused(tmp_path: Path) -> None:
    def steps() -> Iterator[int]:
        yield 1

    async def work() -> None: ...

    async def both() -> AsyncIterator[int]:
        yield 1

    for function in (steps, work, both):
        with pytest.raises(TypeError, match="computes nothing yet"):
            record(tmp_path / "a.trace")(function)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_raises_leaves_a_trace_that_says_so(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.trace"

    def block() -> None:
        with record(path):
            torch.ones(2).sin()
            raise error

    with pytest.raises(error):
        block()
    assert footer_of(path)["raised"] == error.__name__
    assert nothing_is_left()


def test_one_recording_cannot_be_entered_twice_at_once_but_again(tmp_path: Path) -> None:
    trace = record(tmp_path / "a.trace")
    with trace:
        with pytest.raises(DeterministicError, match="being recorded already"), trace:
            pass
        assert len(ACTIVE) == 1
    with trace:
        pass
    assert nothing_is_left()
    with pytest.raises(DeterministicError, match="nothing is being recorded"):
        trace.observe("it", 1)


def test_a_path_that_cannot_be_written_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    trace = record(tmp_path / "missing" / "a.trace")
    for _ in range(2):
        with pytest.raises(TraceError), trace:
            pytest.fail("the block was entered")
        assert nothing_is_left()


def test_a_level_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a level"):
        record(tmp_path / "a.trace", "everything")  # type: ignore[arg-type]
    assert not (tmp_path / "a.trace").exists()


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *chunks: Any) -> int:
        raise TraceError("no space left on device")

    monkeypatch.setattr(chunks.ChunkWriter, "append", refuse)


def test_a_disk_that_fills_up_is_told_once_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    told = 0
    with record(tmp_path / "a.trace"):
        optimizer.step()
        fill_the_disk(monkeypatch)
        for _ in range(3):
            try:
                optimizer.step()
            except TraceError:
                told += 1
    assert told == 1
    assert nothing_is_left()
    monkeypatch.undo()
    with TraceReader(tmp_path / "a.trace") as reader:
        assert len(list(reader.segments())) == 1
        assert reader.footer is None


def test_a_disk_that_fills_up_at_the_end_is_told_unless_the_block_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block(path: Path, error: BaseException | None) -> None:
        with record(path):
            torch.ones(1).sin()
            fill_the_disk(monkeypatch)
            if error is not None:
                raise error

    with pytest.raises(TraceError, match="no space"):
        block(tmp_path / "a.trace", None)
    assert nothing_is_left()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="in the block"):
        block(tmp_path / "b.trace", ValueError("in the block"))
    assert nothing_is_left()


def test_what_a_run_observes_is_in_every_recording_that_is_open(tmp_path: Path) -> None:
    value = torch.ones(2)
    with reproducible(seed=1), record(tmp_path / "a.trace", "values"), record(tmp_path / "b.trace"):
        current_run().observe("it", value)
    for name in "ab":
        with TraceReader(tmp_path / f"{name}.trace") as reader:
            list(reader.segments())
            assert [site.name for site in reader.sites] == ["it"]


def test_each_rank_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_of_rank(Path("runs/a.trace"), 3) == Path("runs/a.rank3.trace")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with record(tmp_path / "a.trace"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.rank1.trace"]
