"""Copies of a run from which a replay goes on: the same verdict, sooner, and nothing left behind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from deterministic import reproducible, verify
from deterministic._verify import snapshots
from tests.processes import run_python
from tests.trace.models import Transformer, train
from tests.verify.faults import Noisy

pytestmark = [pytest.mark.forks, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Counted:
    """A training whose second run, and that alone, has another answer at one step: no replay from the start has it."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.runs = itertools.count()
        self.steps = 0

    def __call__(self) -> float:
        run = next(self.runs)
        model = Transformer()
        model.blocks[1].drop = Noisy()

        def before(step: int) -> None:
            self.steps += 1
            Noisy.flips = "forward" if run == 1 and step == self.step else ""

        return train(model, 20, before=before)


@pytest.mark.parametrize("step", [4, 7, 19])
def test_a_replay_from_a_copy_goes_on_as_the_run_did(step: int) -> None:
    training = Counted(step)
    report = verify(training, snapshot_every=4)
    assert report.outcome == "different"
    assert report.verdict is not None
    assert "deterministic_tests.noisy " in str(report)
    assert f"at step {step} of 20" in str(report)
    assert "by up to" in str(report)  # a second replay from the same copy kept the values
    assert training.steps == 40  # two runs, and no replay in this process


def test_without_copies_such_a_difference_does_not_come_again() -> None:
    report = verify(Counted(7))
    assert report.outcome == "different"
    assert "did not differ again" in str(report)


def test_a_step_before_the_first_copy_is_replayed_from_the_start() -> None:
    training = Counted(2)
    report = verify(training, snapshot_every=4)
    assert report.outcome == "different"
    assert training.steps > 40


def test_copies_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST", 3)
    most: list[int] = []
    let_go = snapshots._let_go

    def counted(copy: Any) -> None:
        most.append(len(snapshots._alive))
        let_go(copy)

    monkeypatch.setattr(snapshots, "_let_go", counted)
    report = verify(Counted(18), snapshot_every=1)
    assert "deterministic_tests.noisy " in str(report)
    assert max(most) <= 2 * 4  # two runs, each with one too many for a moment
    assert snapshots._alive == []


def test_a_bit_exact_run_leaves_no_copy_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    fork = os.fork

    def noted() -> int:
        made.append(fork())
        return made[-1]

    monkeypatch.setattr(os, "fork", noted)
    assert verify(lambda: train(Transformer(), 6), runs=2, snapshot_every=2)
    assert len(made) == 2 * (1 + 3)  # for each run one that tries it out, and the copies
    assert snapshots._alive == []
    for pid in made:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_processes_that_were_there_before_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.active_children", lambda: ["somebody's"])
    assert "deterministic_tests.noisy " in str(verify(Counted(7), snapshot_every=4))


def test_no_copy_is_made_while_the_run_has_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    workers: list[object] = []
    monkeypatch.setattr("multiprocessing.active_children", lambda: [*workers])

    def run() -> float:
        workers.append(object())
        try:
            return train(Transformer(), 6)
        finally:
            workers.clear()

    monkeypatch.setattr(snapshots.Snapshots, "_copy", lambda *given: pytest.fail("a copy was made"))
    assert verify(run, runs=2, snapshot_every=2)


def test_a_process_with_several_threads_is_refused() -> None:
    with pytest.raises(ValueError, match=r"OpenMP's threads are lost in a fork") as raised:
        verify(lambda: train(Transformer(), 6), control=reproducible(num_threads=2), snapshot_every=2)
    assert "num_threads=1" in str(raised.value)


def test_a_process_that_autograd_has_threads_in_is_refused() -> None:
    script = """if 1:
        import torch
        from deterministic import verify
        from tests.test_autograd import backward_on_an_autograd_thread
        from tests.trace.models import Transformer, train

        torch.set_num_threads(1)
        backward_on_an_autograd_thread(lambda: None)
        try:
            verify(lambda: train(Transformer(), 6), snapshot_every=2)
        except ValueError as error:
            print(error)
    """
    assert "autograd has threads of its own here" in run_python(script)


def test_a_copy_that_fails_is_told_and_the_replay_begins_at_the_start() -> None:
    training = Counted(7)
    parent = os.getpid()

    def run() -> float:
        original = snapshots._Replay.after_step

        def failing(replay: Any, steps: int) -> None:
            if os.getpid() != parent:
                os._exit(1)
            original(replay, steps)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshots._Replay, "after_step", failing)
            return training()

    report = verify(run, snapshot_every=4)
    assert "A copy of run 1 did not get to the end of the step that it was to replay" in str(report)
    assert training.steps > 40


def test_a_copy_whose_run_raises_before_its_step_ends_never_returns() -> None:
    calls = []

    def run() -> float:
        calls.append(os.getpid())
        result = train(Transformer(), 6)
        if len(calls) == 2:
            return result + 1
        return result

    report = verify(run, snapshot_every=2)  # the difference is after the last step: the copies reach the end of run()
    assert report.outcome == "different"
    assert set(calls) == {os.getpid()}
